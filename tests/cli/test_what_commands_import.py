"""What looks at runs, lists or helps answers without torch; what opens no model, without
TransformerLens."""

import subprocess
import sys
from pathlib import Path

import pytest

from mechgrok.runs import Run

PROGRAM = """
import sys
from mechgrok.cli.main import app
unwanted, *command = sys.argv[1:]
try:
    app(command)
except SystemExit as end:
    assert not end.code, end.code
imported = set(unwanted.split(",")) & set(sys.modules)
assert not imported, imported
"""
#: Analyses that read weights and open no model.
OF_WEIGHTS = ["norms", "fourier", "similarity", "embedding", "weights", "trajectory"]


@pytest.mark.parametrize(
    ("unwanted", "arguments"),
    [
        ("torch,transformer_lens", ["--help"]),
        ("torch,transformer_lens", ["train", "--help"]),
        ("torch,transformer_lens", ["analyze", "--list"]),
        ("torch,transformer_lens", ["presets"]),
        ("torch,transformer_lens", ["zoo"]),
        ("torch,transformer_lens", ["zoo", "parity", "OUT"]),
        ("torch,transformer_lens", ["info", "RUN"]),
        ("torch,transformer_lens", ["compare", "RUN", "MASKED", "--out", "OUT"]),
        *(("transformer_lens", ["analyze", name, "RUN", "--fresh"]) for name in OF_WEIGHTS),
        ("transformer_lens", ["analyze", "fourier", "TRANSFORMER", "--fresh"]),
        ("transformer_lens", ["analyze", "fourier", "POSITIONAL", "--fresh"]),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_commands_leave_alone_what_they_compute_nothing_with(
    unwanted: str,
    arguments: list[str],
    tiny_run: Run,
    masked_run: Run,
    tiny_transformer_run: Run,
    group_run: Run,
    tmp_path: Path,
) -> None:
    paths = {
        "RUN": tiny_run.path,
        "MASKED": masked_run.path,
        "TRANSFORMER": tiny_transformer_run.path,
        "POSITIONAL": group_run.path,
        "OUT": tmp_path / "compare.html",
    }
    command = [str(paths.get(argument, argument)) for argument in arguments]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, unwanted, *command],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_size_and_density_are_those_of_the_live_model(tiny_run: Run, masked_run: Run) -> None:
    assert tiny_run.n_parameters == tiny_run.model().n_parameters()
    assert tiny_run.density is None
    assert masked_run.mask is not None
    assert masked_run.density == masked_run.mask.density
    for run in (tiny_run, masked_run):
        assert run.task.n_sides == (len(run.task.train_index), len(run.task.test_index))
