"""Finding the split that weights were trained on, where a file holds it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from mechgrok.errors import UserError
from mechgrok.exchange.importing.reading import read_content
from mechgrok.runs import Run
from mechgrok.tasks import Task
from mechgrok.tasks.split import Split

#: What scripts call the two sides.
SIDES = (
    ("train_data", "test_data"),
    ("train_indices", "test_indices"),
    ("train_index", "test_index"),
    ("train_idx", "test_idx"),
    ("train_pairs", "test_pairs"),
    ("train_set", "test_set"),
    ("train", "test"),
    ("is_train", "is_test"),
    ("train_mask", "test_mask"),
)
Sides = tuple[Tensor, Tensor | None]


def sides_in(content: Mapping[str, Any], path: Path) -> Sides | None:
    """The training and the test side that a file holds under one of the usual names, as numbers.

    Raises:
        UserError: what stands there is neither rows, nor pairs, nor a mask over all examples.
    """
    for train, test in SIDES:
        if content.get(train) is not None:
            sides = [_examples(content.get(side), side, path) for side in (train, test)]
            assert sides[0] is not None
            return sides[0], sides[1]
    return None


def sides_of(path: Path) -> Sides:
    """The two sides that ``--split`` names: a run, or a pickle, safetensors, NumPy or JSON file.

    Raises:
        UserError: it holds none.
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
        names = ", ".join(train for train, _ in SIDES)
        raise UserError(f"{path} holds no training set: it must have one of {names}.")
    return sides


def _examples(side: object, name: str, path: Path) -> Tensor | None:
    if side is None:
        return None
    if isinstance(side, list | tuple) and len(side) == 2 and isinstance(side[0], Tensor):
        side = side[0]  # inputs and labels
    try:
        numbers = side if isinstance(side, Tensor) else torch.tensor(side)
    except (ValueError, TypeError, RuntimeError, OverflowError):
        numbers = torch.zeros(0)
    unusual = numbers.is_quantized or numbers.layout != torch.strided or numbers.is_meta
    if unusual or numbers.ndim not in (1, 2) or not numbers.numel() or numbers.is_floating_point():
        raise UserError(
            f"{path} holds a split under {name} that is not understood: expected are the numbers "
            "of the examples, their tokens (a, b), or a true or false for each."
        )
    return numbers.bool() if name.startswith("is_") or name.endswith("_mask") else numbers


def usual_pairs(sides: Sides) -> Literal["unordered", "ordered", "descending"] | None:
    """Which pairs (a, b) a split is made of; None where it names rows."""
    if sides[0].ndim != 2 or sides[0].dtype == torch.bool or sides[0].shape[1] not in (2, 3):
        return None
    pairs = torch.cat([side[:, :2] for side in sides if side is not None and side.ndim == 2])
    a, b = pairs.unbind(1)
    if (a <= b).all():
        return "unordered"
    return "descending" if (a > b).all() and (b > 0).all() else "ordered"


def split_of(sides: Sides, task: Task, path: Path) -> Split:
    """The split of a task's examples that has the two sides.

    Raises:
        UserError: they are no examples of the task, or overlap.
    """
    check_can_be_split(task)
    train, test = sides
    n = len(task.examples.labels)
    rows = _rows(train, task, path)
    others = None if test is None else _rows(test, task, path)
    try:
        return Split.of_rows(n, rows, others)
    except UserError as error:
        raise UserError(f"{path} holds a split that does not fit {task}: {error}") from None


def check_can_be_split(task: Task) -> None:
    """Refuse a task that makes its split in its own way."""
    if type(task).train_index is not Task.train_index:
        raise UserError(f"{task} has its own split, and cannot take one from a file.")


def _rows(side: Tensor, task: Task, path: Path) -> list[int]:
    """The numbers of the examples that a side names by number, by mask, or by their tokens."""
    n = len(task.examples.labels)
    if side.dtype == torch.bool:
        if side.numel() != n:
            raise UserError(
                f"{path} holds a mask of {side.numel()} examples as its split, but {task} has {n}."
            )
        return side.flatten().nonzero().flatten().tolist()
    if side.ndim == 1:
        return side.tolist()
    inputs = task.examples.inputs
    row_of = {tuple(tokens): row for row, tokens in enumerate(inputs.tolist())}
    end = inputs[0, side.shape[1] :].tolist()  # "=", where pairs are listed without it
    rows = []
    for tokens in side.tolist():
        row = row_of.get((*tokens, *end))
        if row is None:
            raise UserError(
                f"{path} was trained on {tuple(tokens)}, which is no example of {task}: choose "
                "another --task, --p or --pairs."
            )
        rows.append(row)
    return rows
