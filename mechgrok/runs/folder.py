"""The run folder on disk: the names of its files, and writing them so that each is whole."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mechgrok.config import RunConfig
from mechgrok.errors import UserError
from mechgrok.files import write_text, write_whole
from mechgrok.masks import Mask

METRICS = ("step", "train_loss", "test_loss", "train_accuracy", "test_accuracy", "l1", "l2")

_CHECKPOINT = re.compile(r"step_(\d{8,})\.safetensors")
MASK, SCORES = "mask.", "scores."


@dataclass(frozen=True)
class Checkpoint:
    """A run at one step: raw weights by name, the mask they carry, and edge-popup scores."""

    step: int
    weights: dict[str, Tensor]
    mask: Mask | None = None
    scores: dict[str, Tensor] = field(default_factory=dict)

    @property
    def effective_weights(self) -> dict[str, Tensor]:
        """θ ⊙ m by name: the weights that the network computes with, raw where no mask is on."""
        mask: Mapping[str, Tensor] = self.mask or {}
        return {n: w * mask[n] if n in mask else w for n, w in self.weights.items()}


def checkpoint_file(folder: Path, step: int) -> Path:
    """The checkpoint file of a step, whether or not it exists."""
    return folder / f"step_{step:08d}.safetensors"


def checkpoints(folder: Path) -> list[int]:
    """The steps that have a checkpoint, in order."""
    found = (_CHECKPOINT.fullmatch(file.name) for file in folder.iterdir())
    return sorted(int(match[1]) for match in found if match)


def make_room(path: Path, *, overwrite: bool) -> None:
    """An empty folder at ``path`` for a new run.

    Raises:
        UserError: it holds a run, unless ``overwrite``, or anything else, or cannot be made.
    """
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is a file: choose another folder with --out.")
    if path.is_dir() and any(path.iterdir()):
        if not (path / "config.json").is_file():
            raise UserError(
                f"{path} holds something other than a run: choose another folder with --out."
            )
        if not overwrite:
            raise UserError(
                f"{path} already holds a run: go on with it (--resume), replace it (--overwrite), "
                "or choose another folder with --out."
            )
        _remove_run(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"The folder {path} cannot be made ({error}).") from None


def _remove_run(path: Path) -> None:
    """Delete the files that a run consists of, its configuration first, and nothing else."""
    ours = [path / "config.json", path / "metrics.csv", path / "resume.safetensors"]
    ours += [checkpoint_file(path, step) for step in checkpoints(path)]
    analysis = path / "analysis"
    if analysis.is_dir():
        ours += [file for file in analysis.iterdir() if file.is_file()]
    for file in ours:
        file.unlink(missing_ok=True)


def write_config(path: Path, config: RunConfig) -> None:
    """Write ``config.json``, whole or not at all."""
    write_text(path / "config.json", config.model_dump_json(indent=2) + "\n")


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write ``step_….safetensors``, whole or not at all."""
    tensors = dict(checkpoint.weights)
    tensors |= {MASK + name: kept for name, kept in (checkpoint.mask or {}).items()}
    tensors |= {SCORES + name: scores for name, scores in checkpoint.scores.items()}
    _save(checkpoint_file(path, checkpoint.step), tensors, checkpoint.step)


def write_resume(path: Path, step: int, state: dict[str, Tensor]) -> None:
    """Write ``resume.safetensors``, the optimizer's state at ``step``, whole or not at all."""
    _save(path / "resume.safetensors", state, step)


def _save(path: Path, tensors: dict[str, Tensor], step: int) -> None:
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_whole(path, lambda beside: save_file(on_cpu, beside, metadata={"step": str(step)}))


def read_resume(folder: Path) -> tuple[int, dict[str, Tensor]]:
    """The step that the run can go on from, and the optimizer's state there.

    The newest checkpoint may lack its state, where the program was killed between writing the one
    and the other; then the state, and the step, are those of the checkpoint before.

    Raises:
        UserError: the state is unreadable or belongs to no checkpoint.
    """
    path, steps = folder / "resume.safetensors", checkpoints(folder)
    if not path.is_file():
        if 0 not in steps:
            raise UserError(f"{path} is missing, so {folder} can be analyzed but not resumed.")
        return 0, {}
    try:
        with safe_open(path, framework="pt") as opened:
            step = int((opened.metadata() or {}).get("step", -1))
            state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError) as error:
        raise UserError(f"{path} is truncated or no safetensors file ({error}).") from None
    if step not in steps:
        raise UserError(f"{path} belongs to step {step}, which has no checkpoint in {folder}.")
    return step, state


def write_metrics(path: Path, rows: Iterable[dict[str, float]]) -> None:
    """Write ``metrics.csv``, whole or not at all; numbers keep every digit."""
    lines = [",".join(METRICS)]
    lines += [_line(tuple(row[column] for column in METRICS)) for row in rows]
    write_text(path / "metrics.csv", "\n".join(lines) + "\n")


@lru_cache(maxsize=4096)
def _line(values: tuple[float, ...]) -> str:
    """A row as text, kept because a run writes all its rows again at every checkpoint."""
    return ",".join("" if math.isnan(value) else repr(value) for value in values)


def drop_checkpoints_after(folder: Path, step: int) -> None:
    """Delete checkpoints that are newer than the state to go on from; they will be made again."""
    for later in checkpoints(folder):
        if later > step:
            checkpoint_file(folder, later).unlink()
