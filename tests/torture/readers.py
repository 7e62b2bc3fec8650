"""What reads the files that lie on disk back, and a folder that holds one of each."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mechgrok import RunConfig, analyze, train
from mechgrok.errors import UserError
from mechgrok.masks import Mask
from mechgrok.results.store import load_dataset
from mechgrok.runs import Run, checkpoint, folder, metrics, state
from mechgrok.runs.facts import facts
from mechgrok.runs.parquet import read_parquet
from mechgrok.sweeps import Plan, Sweep
from mechgrok.tensors import header

PLAN = """preset = "quick"
seeds = "0:2"

[set]
p = 5
steps = 2

[over]
weight_decay = "0.3,1"
d_mlp = "4:7:4"

[[stage]]
make = "ticket"
of = "base"
rate = "0.1:0.2:0.1"

[[stage]]
make = "popup"
of = "ticket"
at = "last"

[[also]]
preset = "mul"
seeds = "4"

[also.set]
p = 5
"""


def read_config(run: Path) -> None:
    """A configuration that can be read is written and read back the same."""
    config = folder.read_config(run)
    folder.write_config(run, config)
    assert folder.read_config(run) == config
    facts(Run(run))


def read_metrics(run: Path) -> None:
    metrics.read_metrics(run)
    metrics.drop_metrics_from(run, 40)


def read_checkpoint(run: Path) -> None:
    step = 60
    header(checkpoint.checkpoint_file(run, step))
    checkpoint.weight_shapes(run, step)
    checkpoint.mask_density(run, step)
    checkpoint.read_checkpoint(run, step, check=True)


def read_state(run: Path) -> None:
    state.read_one(run / state.NEWEST)


def read_answer(run: Path) -> None:
    path = run / "analysis" / "norms.parquet"
    load_dataset(path)
    read_parquet(path)


def read_plan(run: Path) -> None:
    """A plan that can be read is written and read back the same."""
    plan = Plan.load(run / "sweep.toml")
    if len(plan) < 100:
        plan.members()
    (run / "sweep.toml").write_text(plan.as_toml(), encoding="utf-8")
    # NaN is not equal to itself.
    assert Plan.load(run / "sweep.toml") == plan or "nan" in str(plan)


def read_table(run: Path) -> None:
    _ = Sweep(run).table


def read_mask(run: Path) -> None:
    Mask.load(run / "mask.safetensors")


#: Every file that is read back, and what reads it.
READERS: dict[str, Callable[[Path], None]] = {
    "config.json": read_config,
    "metrics.csv": read_metrics,
    "step_00000060.safetensors": read_checkpoint,
    "resume.safetensors": read_state,
    "analysis/norms.parquet": read_answer,
    "sweep.toml": read_plan,
    ".table.json": read_table,
    "mask.safetensors": read_mask,
}


def make_files(path: Path) -> Path:
    """A folder that holds one of each: a run of 60 steps, a mask, and a plan with its table."""
    config = RunConfig.make(
        task={"name": "add", "p": 5, "train_fraction": 0.6},
        model={"kind": "mlp", "d_model": 4, "d_mlp": 4},
        training={"steps": 60, "checkpoint_every": 20},
    )
    run = train(path, config)
    analyze(run, "norms")
    train(path / "weight_decay=0.3,d_mlp=4,seed=0", config)
    Mask.full(run.checkpoint(60).weights).save(path / "mask.safetensors")
    (path / "sweep.toml").write_text(PLAN, encoding="utf-8")
    _ = Sweep(path).table
    return path


def read_bytes(files: Path, name: str, content: bytes) -> None:
    """Read a file with that content; a sentence is an answer.

    Raises:
        Exception: whatever else the reader raises.
    """
    (files / name).write_bytes(content)
    with suppress(UserError):
        READERS[name](files)


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder of files in memory, where there is one: every input is written to it."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as path:
        yield make_files(Path(path) / "files")
