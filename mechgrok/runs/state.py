"""What training needs to go on, on disk: ``resume.safetensors`` and the one before it.

Both the newest checkpoint's state and that of the checkpoint before it are kept, so that a run
whose newest checkpoint is lost or damaged loses one interval and no more.
"""

import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mechgrok.errors import UserError
from mechgrok.runs.checkpoint import checkpoint_file, checkpoints, read_checkpoint
from mechgrok.tensors import open_tensors, read_tensors, write_tensors

if TYPE_CHECKING:
    from torch import Tensor

NEWEST, BEFORE = "resume.safetensors", "resume-before.safetensors"


def write_state(folder: Path, step: int, state: "dict[str, Tensor | Any]") -> None:
    """Write the optimizer's state at ``step``, whole or not at all; the last one moves aside.

    Args:
        folder: the run's.
        step: of the checkpoint that it belongs to.
        state: tensors, and whatever JSON can hold, as ``<weight>/<key>``.

    Raises:
        UserError: it cannot be written.
    """
    from torch import Tensor

    newest = folder / NEWEST
    if newest.is_file() and _step(newest) != step:
        try:
            os.replace(newest, folder / BEFORE)
        except OSError as error:
            raise UserError(f"{folder / BEFORE} could not be written ({error}).") from None
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    others = {name: value for name, value in state.items() if name not in tensors}
    metadata = {"step": str(step)} | ({"others": json.dumps(others)} if others else {})
    write_tensors(newest, tensors, metadata)


def drop_checkpoints_but(folder: Path, kept: Collection[int], *, going_on: bool) -> None:
    """Delete the checkpoints that are not to be kept, but the newest.

    Args:
        folder: the run's.
        kept: the steps whose checkpoints stay.
        going_on: leave the one before the newest too, which the run can go on from where the newest
            is lost; otherwise its state goes with it.
    """
    *older, _ = checkpoints(folder)
    if going_on:
        older = older[:-1]
    elif older and older[-1] not in kept:
        (folder / BEFORE).unlink(missing_ok=True)
    for step in older:
        if step not in kept:
            checkpoint_file(folder, step).unlink()


def read_state(folder: Path) -> "tuple[int, dict[str, Tensor | Any]]":
    """The step that the run can go on from, and the optimizer's state there.

    That is the newest checkpoint, unless the program was killed between writing it and its state,
    or one of the two is damaged; then it is the checkpoint before.

    Raises:
        UserError: there is no state, or none that can be read and has a sound checkpoint, and the
            run has gone further than its first step.
    """
    problem: UserError | None = None
    for path in (folder / NEWEST, folder / BEFORE):
        if not path.is_file():
            continue
        try:
            step, state = read_one(path)
            if step not in checkpoints(folder):
                raise UserError(
                    f"{path} belongs to step {step}, which has no checkpoint in {folder}."
                )
            read_checkpoint(folder, step, check=True)
            return step, state
        except UserError as error:
            problem = problem or error
    if checkpoints(folder) == [0]:
        return 0, {}
    raise problem or UserError(
        f"{folder / NEWEST} is missing, so {folder} can be analyzed but not resumed."
    )


def before_the_newest(folder: Path) -> "tuple[int | None, dict[str, Tensor | Any]]":
    """The step and the state that are kept beside the newest; None where there is none to use."""
    try:
        step, state = read_one(folder / BEFORE)
    except UserError:
        return None, {}
    saved = checkpoints(folder)
    return (step, state) if step in saved and step < saved[-1] else (None, {})


def read_one(path: Path) -> "tuple[int, dict[str, Tensor | Any]]":
    """The step and the optimizer's state that one file holds.

    Raises:
        UserError: it is truncated, damaged or foreign.
    """
    tensors, metadata = read_tensors(path, check=True)
    try:
        others = json.loads(metadata.get("others", "{}"))
        return _whole_number(metadata.get("step")), tensors | others
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is no state of an optimizer ({error}).") from None


def _step(path: Path) -> int:
    """The step that a state belongs to; −1 where it cannot be read."""
    try:
        with open_tensors(path) as opened:
            return _whole_number((opened.metadata() or {}).get("step"))
    except UserError:
        return -1


def _whole_number(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() else -1
