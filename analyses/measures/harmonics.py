"""Waves and representations of a group (`mechgrok.tasks.harmonics`), with labels for datasets."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Integer

from mechgrok.tasks.base import Task
from mechgrok.tasks.binary import BinaryOperation
from mechgrok.tasks.harmonics import Harmonics as Harmonics
from mechgrok.tasks.harmonics import Representations as Representations
from mechgrok.tasks.harmonics import Waves as Waves
from mechgrok.tasks.harmonics import harmonics as harmonics
from mechgrok.tasks.harmonics import no_harmonics as no_harmonics

#: The most parts named along an axis.
_NAMED = 40


def no_formula(task: Task) -> str | None:
    """The reason why the answers are not a function of two residues or elements; None if they are.

    >>> from mechgrok.tasks import make_task
    >>> print(no_formula(make_task("add")), no_formula(make_task("group")))
    None None
    >>> no_formula(make_task("random"))
    'random labels follow no formula.'
    """
    if not isinstance(task, BinaryOperation):
        return f"{task.name} is not one operation on two residues, or elements of a group."
    if (reason := no_harmonics(task)) is not None:
        return reason
    return "random labels follow no formula." if task.name == "random" else None


def part_coordinates(parts: Harmonics) -> dict[str, Any]:
    """The coordinates of a dataset over parts: their numbers, and for a group also their names.

    >>> import torch
    >>> part_coordinates(Waves(torch.arange(5)))
    {'frequency': [0, 1, 2]}
    """
    numbers = range(len(parts.names))
    named = {"representation": list(parts.names)}
    return {"frequency": list(numbers), **(named if isinstance(parts, Representations) else {})}


def part_units(parts: Harmonics) -> dict[str, str]:
    """The units of a part's number, for `mechgrok.results.variables.described`.

    >>> import torch
    >>> part_units(Waves(torch.arange(5)))
    {'units of a frequency': 'cycles per 5'}
    """
    waves = not isinstance(parts, Representations)
    return {"units of a frequency": f"cycles per {parts.n}" if waves else "none"}


@dataclass(frozen=True)
class PartLabels:
    """Names for the parts of datasets: frequencies, or representations of a group.

    Attributes:
        word: "frequency" or "representation".
        plural: "frequencies" or "representations".
        symbol: ω or ρ.
        names: names of the first dataset's parts, in the order of ``frequency``, if any.
        axis: plotly's attributes of an axis of parts.

    >>> part_labels(xr.Dataset(coords={"frequency": [0, 1, 2]})).plural
    'frequencies'
    """

    word: str
    plural: str
    symbol: str
    names: list[str]
    axis: dict[str, Any]


def part_labels(*datasets: xr.Dataset) -> PartLabels:
    """The labels of the parts: representations if all datasets are of groups, else frequencies.

    >>> part_labels(xr.Dataset(coords={"frequency": [0, 1, 2]})).axis
    {'title': 'frequency ω'}
    """
    names, *others = (_part_names(dataset) for dataset in datasets)
    if not all("representation" in dataset.coords for dataset in datasets):
        return PartLabels("frequency", "frequencies", "ω", names, {"title": "frequency ω"})
    is_one_group = all(other == names for other in others)
    axis = _named_axis(names[1:]) if is_one_group else {"title": "representation"}
    return PartLabels("representation", "representations", "ρ", names, axis)


def count_neurons(labels: PartLabels, parts: Integer[np.ndarray, " neuron"], most: int = 6) -> str:
    """The number of neurons of each part, in ascending order of the parts.

    Args:
        labels: of the dataset.
        parts: the part of each neuron.
        most: list only this number of parts, those of the most neurons.

    >>> count_neurons(part_labels(xr.Dataset()), np.array([5, 2, 5]))
    '2 (1), 5 (2)'
    """
    shown = parts_of_neurons(parts, most)
    names = [labels.names[k] if labels.names else str(k) for k in shown]
    counts = [(parts == k).sum() for k in shown]
    return ", ".join(f"{name} ({n})" for name, n in zip(names, counts, strict=True)) or "none"


def parts_of_neurons(parts: Integer[np.ndarray, " neuron"], most: int = 6) -> list[int]:
    """The parts of the most neurons, at most ``most``, in ascending order.

    >>> parts_of_neurons(np.array([5, 2, 5, 3]), most=2)
    [2, 5]
    """
    used, count = np.unique(parts, return_counts=True)
    return np.sort(used[np.argsort(-count, kind="stable")[:most]]).tolist()


def _part_names(dataset: xr.Dataset) -> list[str]:
    named = "representation" if "representation" in dataset.coords else "frequency"
    return [str(name) for name in dataset[named].to_numpy().tolist()] if named in dataset else []


def _named_axis(names: Sequence[str]) -> dict[str, Any]:
    """An axis of representations, with names if there are at most `_NAMED`."""
    if len(names) > _NAMED:
        return {"title": "representation"}
    # Long names take two lines: rotated, they would overlap the row below.
    shown = [name.replace("-", "<br>").replace(" x ", "<br>x ") for name in names]
    ticks = {"tickvals": list(range(1, len(names) + 1)), "ticktext": shown, "tickangle": 0}
    # A blank title leaves space for the second line.
    title = " " if any("<br>" in name for name in shown) else "representation"
    return ticks | {"tickfont": {"size": 11 if len(names) < 6 else 9}, "title": title}
