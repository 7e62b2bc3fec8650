"""The training split in a file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from mechgrok.errors import UserError
from mechgrok.exchange.importing.content import read_content
from mechgrok.exchange.importing.tables import NAMES
from mechgrok.runs import Run
from mechgrok.tasks import Task
from mechgrok.tasks.split import Split

#: The training set and the test set (or None for the rest): rows, tokens, or a mask of all rows.
Sides = tuple[Tensor, Tensor | None]


def sides_in(content: Mapping[str, Any], path: Path) -> Sides | None:
    """The two sides of a split in a file, under any of the usual names, or None.

    Raises:
        UserError: the value is neither rows, nor tokens, nor a mask over all examples.
    """
    for train, test in NAMES["places"]["split"]:
        if content.get(train) is not None:
            other = content.get(test)
            side = _numbers(content[train], train, path)
            return side, None if other is None else _numbers(other, test, path)
    return None


def read_sides(path: Path) -> Sides:
    """The two sides in the run, or pickle, safetensors, NumPy or JSON file, of ``--split``.

    Raises:
        UserError: it holds no split.
    """
    if path.is_dir():
        task = Run(path).task
        if task.input_kind == "tokens":
            return task.train.inputs, task.test.inputs
        return task.train_index, task.test_index
    content = read_content(path)
    if isinstance(content, list | Tensor):
        content = {"train": content}
    sides = sides_in(content, path) if isinstance(content, dict) else None
    if sides is None:
        names = ", ".join(train for train, _ in NAMES["places"]["split"])
        raise UserError(f"{path} holds no training set: it needs one of {names}.")
    return sides


def _numbers(side: Any, name: str, path: Path) -> Tensor:
    if isinstance(side, list | tuple) and len(side) == 2 and isinstance(side[0], Tensor):
        side = side[0]  # inputs and labels
    try:
        numbers = side if isinstance(side, Tensor) else torch.tensor(side)
    except (ValueError, TypeError, RuntimeError, OverflowError):
        numbers = torch.zeros(0)
    is_plain = not (numbers.is_quantized or numbers.is_meta) and numbers.layout == torch.strided
    if (
        not is_plain
        or numbers.ndim not in (1, 2)
        or not numbers.numel()
        or numbers.is_floating_point()
    ):
        raise UserError(
            f"{path} holds an invalid split under {name}: it must be indices of the examples, "
            "their tokens (a, b), or one boolean per example."
        )
    return numbers.bool() if name.startswith("is_") or name.endswith("_mask") else numbers


def pairs_in(sides: Sides) -> Literal["unordered", "ordered", "descending"] | None:
    """The kind of pairs (a, b) in a split; None if it holds indices."""
    if sides[0].ndim != 2 or sides[0].dtype == torch.bool or sides[0].shape[1] not in (2, 3):
        return None
    pairs = torch.cat(
        [side[:, :2] for side in sides if side is not None and side.ndim == 2 and side.shape[1] > 1]
    )
    a, b = pairs.unbind(1)
    if (a <= b).all():
        return "unordered"
    return "descending" if (a > b).all() and (b > 0).all() else "ordered"


def split_of(sides: Sides, task: Task, path: Path) -> Split:
    """The split of a task's examples into the two sides.

    Raises:
        UserError: they are not examples of the task, or overlap, or the task has its own split.
    """
    if type(task).train_index is not Task.train_index:
        raise UserError(f"{task} has its own split and cannot use one from a file.")
    train, *test = [_rows(side, task, path) for side in sides if side is not None]
    try:
        return Split.of_rows(len(task.examples.labels), train, *test)
    except UserError as error:
        raise UserError(f"{path} holds a split that does not fit {task}: {error}") from None


def _rows(side: Tensor, task: Task, path: Path) -> list[int]:
    """The rows of the examples on one side."""
    n = len(task.examples.labels)
    if side.dtype == torch.bool:
        if side.numel() != n:
            raise UserError(f"{path} holds a split of {side.numel()} examples, but {task} has {n}.")
        return side.flatten().nonzero().flatten().tolist()
    if side.ndim == 1:
        return side.tolist()
    inputs = task.examples.inputs
    row_of = {tuple(tokens): row for row, tokens in enumerate(inputs.tolist())}
    end = inputs[0, side.shape[1] :].tolist()  # "=", if the pairs omit it
    examples = [(*tokens, *end) for tokens in side.tolist()]
    if foreign := next((example for example in examples if example not in row_of), None):
        raise UserError(
            f"{path} was trained on {foreign[: side.shape[1]]}, which is not an example of {task}: "
            "choose another --task, --p or --pairs."
        )
    return [row_of[example] for example in examples]
