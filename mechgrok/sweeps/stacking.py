"""Many datasets as one, with what was varied between them as dimensions of their own."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from mechgrok.grammar import Value


def stacked(
    datasets: Sequence[xr.Dataset], coordinates: Mapping[str, Sequence[Value]]
) -> xr.Dataset:
    """One dataset whose first dimensions are those of ``coordinates``.

    Args:
        datasets: one for each run.
        coordinates: for each new dimension, the value that each run has.

    Returns:
        The union of their coordinates, NaN where a run has no value. Attributes that differ
        between runs and are numbers (t_mem, t_gen, …) become variables over the new dimensions;
        other attributes are kept where all agree.
    """
    lifted = [_with_own_attributes(dataset, datasets) for dataset in datasets]
    if not coordinates:
        return lifted[0]
    together = xr.concat(
        lifted, "run", data_vars="all", coords="minimal", compat="override", join="outer",
        combine_attrs="drop_conflicts",
    )  # fmt: skip
    names = list(coordinates)
    distinct = {name: _distinct(values) for name, values in coordinates.items()}
    # Places instead of values: an index of several levels takes no NaN for "has none".
    places = {n: ("run", [distinct[n].index(v) for v in each]) for n, each in coordinates.items()}
    together = together.assign_coords(places)
    if len(names) == 1:
        together = together.swap_dims(run=names[0])
    else:
        together = together.set_index(run=names).unstack("run")
    together = together.sortby(names).assign_coords({n: _axis(distinct[n]) for n in names})
    return together.transpose(*names, ...)


def _with_own_attributes(dataset: xr.Dataset, others: Sequence[xr.Dataset]) -> xr.Dataset:
    """``dataset`` with those numbers of its attributes as variables that differ between runs."""
    differing = {
        name
        for other in others
        for name, value in other.attrs.items()
        if _is_number(value) and any(each.attrs.get(name) != value for each in others)
    }
    numbers = {
        name: float(dataset.attrs.get(name, np.nan))
        for name in sorted(differing)
        if name not in dataset.variables
    }
    rest = {name: value for name, value in dataset.attrs.items() if name not in differing}
    return dataset.assign(numbers).assign_attrs(rest)._replace(attrs=rest)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _distinct(values: Sequence[Value]) -> list[Value]:
    """The values, each once; numbers in their order, before what has none."""
    known = list(dict.fromkeys(values))
    numbers = sorted(value for value in known if _is_number(value))  # type: ignore[type-var]
    return [*numbers, *(value for value in known if not _is_number(value))]


def _axis(values: Sequence[Value]) -> np.ndarray:
    """Values as a coordinate: numbers where all are, NaN for none; else what they are called."""
    if all(value is None or _is_number(value) for value in values) and values != [None]:
        return np.array([np.nan if value is None else value for value in values])
    return np.array(["none" if value is None else str(value) for value in values])
