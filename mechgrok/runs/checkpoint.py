"""Reading and writing checkpoints, ``step_00000000.safetensors`` and on."""

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mechgrok.errors import UserError
from mechgrok.tensors import header, open_tensors, read_tensors, write_tensors

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from mechgrok.masks import Mask

_NAME = re.compile(r"step_([0-9]{8,})\.safetensors")
#: Prefixes of masks and of edge-popup's scores in the files.
MASK, SCORES = "mask.", "scores."


def in_single_precision(weight: "Float[Tensor, '...']") -> "Float[Tensor, '...']":
    """A stored weight with at least float32: files may hold half the precision to save space."""
    return weight.float() if weight.is_floating_point() and weight.itemsize < 4 else weight


@dataclass(frozen=True)
class Checkpoint:
    """A run at one step: raw weights by name, their mask, and edge-popup scores."""

    step: int
    weights: "dict[str, Float[Tensor, '...']]"
    mask: "Mask | None" = None
    scores: "dict[str, Float[Tensor, '...']]" = field(default_factory=dict)

    @property
    def effective_weights(self) -> "dict[str, Float[Tensor, '...']]":
        """The weights in the forward pass, θ ⊙ m, by name; θ without a mask."""
        mask: Mapping[str, Tensor] = self.mask or {}
        return {n: w * mask[n] if n in mask else w for n, w in self.weights.items()}


def checkpoint_file(folder: Path, step: int) -> Path:
    """The checkpoint file of a step, whether or not it exists."""
    return folder / f"step_{step:08d}.safetensors"


def checkpoints(folder: Path) -> list[int]:
    """The steps that have a checkpoint, in order."""
    matches = (_NAME.fullmatch(file.name) for file in folder.iterdir())
    return sorted(int(match[1]) for match in matches if match)


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write ``step_….safetensors`` atomically."""
    tensors = dict(checkpoint.weights)
    tensors |= {MASK + name: mask for name, mask in (checkpoint.mask or {}).items()}
    tensors |= {SCORES + name: scores for name, scores in checkpoint.scores.items()}
    path = checkpoint_file(folder, checkpoint.step)
    write_tensors(path, tensors, {"step": str(checkpoint.step)})


@contextmanager
def open_checkpoint(folder: Path, step: int) -> Iterator[Any]:
    """Open the checkpoint file of a step, memory-mapped.

    Raises:
        UserError: the file is truncated or foreign.
    """
    path = checkpoint_file(folder, step)
    with open_tensors(path) as file:
        _check_step(path, file.metadata() or {}, step)
        yield file


def read_checkpoint(folder: Path, step: int, *, check: bool = False) -> Checkpoint:
    """Read the checkpoint of a step, weights in float16 as float32.

    Args:
        folder: the run's folder.
        step: the checkpoint's step.
        check: compare every value with the file's digest.

    Raises:
        UserError: the file is truncated, foreign, or damaged.
    """
    from mechgrok.masks import Mask

    path = checkpoint_file(folder, step)
    tensors, metadata = read_tensors(path, check=check)
    _check_step(path, metadata, step)
    mask = {n.removeprefix(MASK): t for n, t in tensors.items() if n.startswith(MASK)}
    scores = {n.removeprefix(SCORES): t for n, t in tensors.items() if n.startswith(SCORES)}
    weights = {
        name: in_single_precision(tensor)
        for name, tensor in tensors.items()
        if not name.startswith((MASK, SCORES))
    }
    return Checkpoint(step, weights, Mask(mask) if mask else None, scores)


def weight_shapes(folder: Path, step: int) -> dict[str, list[int]]:
    """The shapes of a checkpoint's weights by name, from the file's header.

    Raises:
        UserError: the file is truncated or not a safetensors file.
    """
    return {
        name: part["shape"]
        for name, part in header(checkpoint_file(folder, step)).items()
        if not name.startswith((MASK, SCORES, "__metadata__"))
    }


def mask_density(folder: Path, step: int) -> float | None:
    """The kept share of the masked weights' entries at a step; None without a mask.

    Raises:
        UserError: the file is truncated, foreign or not a safetensors file.
    """
    path = checkpoint_file(folder, step)
    with open_tensors(path, framework="numpy") as file:
        _check_step(path, file.metadata() or {}, step)
        masks = [file.get_tensor(name) for name in file.keys() if name.startswith(MASK)]  # noqa: SIM118
    entries = sum(mask.size for mask in masks)
    return int(sum(mask.astype(bool).sum() for mask in masks)) / entries if entries else None


def link_checkpoints(source: Path, target: Path, step: int) -> None:
    """Give a run the checkpoints of another before ``step``: hard links where possible."""
    for earlier in checkpoints(source):
        if earlier < step:
            file = checkpoint_file(source, earlier).resolve()
            try:
                os.link(file, checkpoint_file(target, earlier))
            except OSError:  # on another file system
                shutil.copy2(file, checkpoint_file(target, earlier))


def drop_checkpoints_after(folder: Path, step: int) -> None:
    """Delete the checkpoints after ``step``; a resumed run writes them again."""
    for later in checkpoints(folder):
        if later > step:
            file = checkpoint_file(folder, later)
            if file.is_dir():
                raise UserError(f"{file} is a folder instead of a checkpoint: move it away.")
            file.unlink()


def _check_step(path: Path, metadata: Mapping[str, str], step: int) -> None:
    if metadata.get("step") != str(step):
        raise UserError(
            f"{path} is not this run's checkpoint: its metadata contain step "
            f"{metadata.get('step')} instead of {step}."
        )
