"""Waves, or representations of a group: what `mechgrok.tasks.harmonics` knows, and words for it."""

from typing import Any

import xarray as xr

from mechgrok.tasks.base import Task
from mechgrok.tasks.binary import BinaryOperation
from mechgrok.tasks.harmonics import Harmonics as Harmonics
from mechgrok.tasks.harmonics import Representations as Representations
from mechgrok.tasks.harmonics import Waves as Waves
from mechgrok.tasks.harmonics import harmonics as harmonics
from mechgrok.tasks.harmonics import no_harmonics as no_harmonics

#: The longest axis on which every part is named.
_NAMED = 40


def no_formula(task: Task) -> str | None:
    """Why answers are no function of two elements that falls into parts; None where they are.

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
    """The coordinates of a dataset over parts: their numbers, and a group's by their names too.

    >>> import torch
    >>> part_coordinates(Waves(torch.arange(5)))
    {'frequency': [0, 1, 2]}
    """
    numbers = range(len(parts.names))
    named = {"representation": list(parts.names)}
    return {"frequency": list(numbers), **(named if isinstance(parts, Representations) else {})}


def part_units(parts: Harmonics) -> dict[str, str]:
    """What is said of the number of a part, in the words of `mechgrok.results.variables`.

    >>> import torch
    >>> part_units(Waves(torch.arange(5)))
    {'units of a frequency': 'cycles per 5'}
    """
    waves = not isinstance(parts, Representations)
    return {"units of a frequency": f"cycles per {parts.n}" if waves else "none"}


def part_names(dataset: xr.Dataset) -> list[str]:
    """What the parts of a dataset are called, in the order of ``frequency``.

    >>> part_names(xr.Dataset(coords={"frequency": [0, 1, 2]}))
    ['0', '1', '2']
    """
    named = "representation" if "representation" in dataset.coords else "frequency"
    return [str(name) for name in dataset[named].to_numpy().tolist()]


def part_word(*datasets: xr.Dataset) -> str:
    """What a part is called: frequency, or representation where all datasets are of groups.

    >>> part_word(xr.Dataset(coords={"frequency": [0, 1, 2]}))
    'frequency'
    """
    of_groups = all("representation" in dataset.coords for dataset in datasets)
    return "representation" if of_groups else "frequency"


def part_words(*datasets: xr.Dataset) -> str:
    """What several parts are called.

    >>> part_words(xr.Dataset(coords={"frequency": [0, 1, 2]}))
    'frequencies'
    """
    return {"frequency": "frequencies"}.get(word := part_word(*datasets), f"{word}s")


def part_axis(*datasets: xr.Dataset) -> dict[str, Any]:
    """An axis of parts: ω by number; representations by name where all are of one group.

    >>> part_axis(xr.Dataset(coords={"frequency": [0, 1, 2]}))
    {'title': 'frequency ω'}
    """
    if part_word(*datasets) == "frequency":
        return {"title": "frequency ω"}
    names, *others = (part_names(dataset)[1:] for dataset in datasets)
    if any(other != names for other in others):
        return {"title": "representation"}
    # Long names on two lines: turned, they would run into what is below.
    shown = [name.replace("-", "<br>").replace(" x ", "<br>x ") for name in names]
    ticks = {"tickvals": list(range(1, len(names) + 1)), "ticktext": shown, "tickangle": 0}
    # A blank title keeps the room of the second line.
    title = " " if any("<br>" in name for name in shown) else "representation"
    small = {"tickfont": {"size": 11 if len(names) < 6 else 9}, "title": title}
    return ticks | small if len(names) <= _NAMED else {"title": "representation"}
