"""Checkpoints on disk: ``step_00000000.safetensors`` and on, written and read."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mechgrok.errors import UserError
from mechgrok.tensors import header, open_tensors, read_tensors, write_tensors

if TYPE_CHECKING:
    from torch import Tensor

    from mechgrok.masks import Mask

_NAME = re.compile(r"step_([0-9]{8,})\.safetensors")
#: What the names of masks and of edge-popup's scores begin with, in the files.
MASK, SCORES = "mask.", "scores."


@dataclass(frozen=True)
class Checkpoint:
    """A run at one step: raw weights by name, the mask they carry, and edge-popup scores."""

    step: int
    weights: "dict[str, Tensor]"
    mask: "Mask | None" = None
    scores: "dict[str, Tensor]" = field(default_factory=dict)

    @property
    def effective_weights(self) -> "dict[str, Tensor]":
        """The weights that the network computes with, θ ⊙ m, by name; raw where no mask is on."""
        mask: Mapping[str, Tensor] = self.mask or {}
        return {n: w * mask[n] if n in mask else w for n, w in self.weights.items()}


def checkpoint_file(folder: Path, step: int) -> Path:
    """The checkpoint file of a step, whether or not it exists."""
    return folder / f"step_{step:08d}.safetensors"


def checkpoints(folder: Path) -> list[int]:
    """The steps that have a checkpoint, in order."""
    found = (_NAME.fullmatch(file.name) for file in folder.iterdir())
    return sorted(int(match[1]) for match in found if match)


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write ``step_….safetensors``, whole or not at all."""
    tensors = dict(checkpoint.weights)
    tensors |= {MASK + name: kept for name, kept in (checkpoint.mask or {}).items()}
    tensors |= {SCORES + name: scores for name, scores in checkpoint.scores.items()}
    path = checkpoint_file(folder, checkpoint.step)
    write_tensors(path, tensors, {"step": str(checkpoint.step)})


@contextmanager
def open_checkpoint(folder: Path, step: int) -> Iterator[Any]:
    """The open, memory-mapped file of a step that has one.

    Raises:
        UserError: the file is truncated or foreign.
    """
    path = checkpoint_file(folder, step)
    with open_tensors(path) as opened:
        _check_step(path, opened.metadata() or {}, step)
        yield opened


def read_checkpoint(folder: Path, step: int, *, check: bool = False) -> Checkpoint:
    """Everything saved at a step that has a checkpoint.

    Args:
        folder: the run's.
        step: the checkpoint's.
        check: compare every value with the digest that was written with it.

    Raises:
        UserError: the file is truncated, foreign, or damaged.
    """
    from mechgrok.masks import Mask

    path = checkpoint_file(folder, step)
    tensors, metadata = read_tensors(path, check=check)
    _check_step(path, metadata, step)
    mask = {n.removeprefix(MASK): t for n, t in tensors.items() if n.startswith(MASK)}
    scores = {n.removeprefix(SCORES): t for n, t in tensors.items() if n.startswith(SCORES)}
    weights = {n: t for n, t in tensors.items() if not n.startswith((MASK, SCORES))}
    return Checkpoint(step, weights, Mask(mask) if mask else None, scores)


def weight_shapes(folder: Path, step: int) -> dict[str, list[int]]:
    """The shapes of a checkpoint's weights by name; no tensor is read.

    Raises:
        UserError: the file is truncated or no safetensors file.
    """
    return {
        name: part["shape"]
        for name, part in header(checkpoint_file(folder, step)).items()
        if not name.startswith((MASK, SCORES, "__metadata__"))
    }


def mask_density(folder: Path, step: int) -> float | None:
    """The share of the masked weights' entries that a checkpoint's mask keeps; None without one.

    Raises:
        UserError: the file is truncated, foreign or no safetensors file.
    """
    path = checkpoint_file(folder, step)
    with open_tensors(path, framework="numpy") as opened:
        _check_step(path, opened.metadata() or {}, step)
        kept = [opened.get_tensor(name) for name in opened.keys() if name.startswith(MASK)]  # noqa: SIM118
    entries = sum(mask.size for mask in kept)
    return int(sum(mask.astype(bool).sum() for mask in kept)) / entries if entries else None


def drop_checkpoints_after(folder: Path, step: int) -> None:
    """Delete checkpoints that are newer than the state to go on from; they will be made again."""
    for later in checkpoints(folder):
        if later > step:
            file = checkpoint_file(folder, later)
            if file.is_dir():
                raise UserError(f"{file} is a folder instead of a checkpoint: move it away.")
            file.unlink()


def _check_step(path: Path, metadata: Mapping[str, str], step: int) -> None:
    if metadata.get("step") != str(step):
        raise UserError(
            f"{path} is not this run's checkpoint: its metadata name step {metadata.get('step')} "
            f"instead of {step}."
        )
