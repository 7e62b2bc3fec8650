"""Reading and writing the resume state, ``resume.safetensors``, and the previous one.

The states of the newest two checkpoints are kept, so that a lost or damaged newest checkpoint costs
one interval only.
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
    from jaxtyping import Shaped
    from torch import Tensor

NEWEST, BEFORE = "resume.safetensors", "resume-before.safetensors"


def write_state(folder: Path, step: int, state: "dict[str, Shaped[Tensor, '...'] | Any]") -> None:
    """Write the optimizer's state at ``step`` atomically, and keep the previous state.

    Args:
        folder: the run's folder.
        step: the checkpoint's step.
        state: tensors and JSON values, by ``<weight>/<key>``.

    Raises:
        UserError: the file cannot be written.
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


def drop_checkpoints_but(folder: Path, steps: Collection[int], *, going_on: bool) -> None:
    """Delete all checkpoints but the newest and those at ``steps``.

    Args:
        folder: the run's folder.
        steps: the steps to keep.
        going_on: training continues: keep the last but one as well, in case the newest is lost;
            otherwise delete its state with it.
    """
    *older, _ = checkpoints(folder)
    if going_on:
        older = older[:-1]
    elif older and older[-1] not in steps:
        (folder / BEFORE).unlink(missing_ok=True)
    for step in older:
        if step not in steps:
            checkpoint_file(folder, step).unlink()


def read_state(folder: Path) -> "tuple[int, dict[str, Shaped[Tensor, '...'] | Any]]":
    """The step from which the run can be resumed, and the optimizer's state there.

    That is the newest checkpoint; or the previous one, if the newest or its state is damaged, or
    the process was killed between writing the two.

    Raises:
        UserError: no state with an intact checkpoint exists, and the run is past its first step.
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


def before_the_newest(folder: Path) -> "tuple[int | None, dict[str, Shaped[Tensor, '...'] | Any]]":
    """The previous step and its state; (None, {}) without a usable one."""
    try:
        step, state = read_one(folder / BEFORE)
    except UserError:
        return None, {}
    saved = checkpoints(folder)
    return (step, state) if step in saved and step < saved[-1] else (None, {})


def read_one(path: Path) -> "tuple[int, dict[str, Shaped[Tensor, '...'] | Any]]":
    """The step and the optimizer's state in one file.

    Raises:
        UserError: the file is truncated, damaged or foreign.
    """
    tensors, metadata = read_tensors(path, check=True)
    try:
        others = json.loads(metadata.get("others", "{}"))
        return _whole_number(metadata.get("step")), tensors | others
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is not an optimizer state ({error}).") from None


def _step(path: Path) -> int:
    """The step of a state file; −1 if the file cannot be read."""
    try:
        with open_tensors(path) as file:
            return _whole_number((file.metadata() or {}).get("step"))
    except UserError:
        return -1


def _whole_number(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() else -1
