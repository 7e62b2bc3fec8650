"""Combining the datasets of many runs, with new dimensions for the swept settings."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from jaxtyping import Shaped

from mechgrok.grammar import Value


def stacked(
    datasets: Sequence[xr.Dataset], coordinates: Mapping[str, Sequence[Value]]
) -> xr.Dataset:
    """Combine datasets into one whose first dimensions are those of ``coordinates``.

    Args:
        datasets: a dataset for each run.
        coordinates: for each new dimension, the value of each run.

    Returns:
        A dataset over the union of their coordinates, NaN where a run has no value. Numeric
        attributes that differ between runs (t_mem, t_gen, …) become variables over the new
        dimensions; other attributes are kept if all agree.
    """
    lifted = [_lift_attributes(dataset, datasets) for dataset in datasets]
    if not coordinates:
        return lifted[0]
    combined = xr.concat(
        lifted, "run", data_vars="all", coords="minimal", compat="override", join="outer",
        combine_attrs="drop_conflicts",
    )  # fmt: skip
    names = list(coordinates)
    distinct = {name: _distinct(values) for name, values in coordinates.items()}
    # Positions instead of values, because a MultiIndex cannot hold NaN for None.
    positions = {
        name: ("run", [distinct[name].index(value) for value in values])
        for name, values in coordinates.items()
    }
    combined = combined.assign_coords(positions)
    if len(names) == 1:
        combined = combined.swap_dims(run=names[0])
    else:
        combined = combined.set_index(run=names).unstack("run")
    combined = combined.sortby(names).assign_coords({n: _axis(distinct[n]) for n in names})
    return combined.transpose(*names, ...)


def _lift_attributes(dataset: xr.Dataset, others: Sequence[xr.Dataset]) -> xr.Dataset:
    """Turn numeric attributes that differ between runs into variables."""
    differing = {
        name
        for other in others
        for name, value in other.attrs.items()
        if _is_number(value) and any(another.attrs.get(name) != value for another in others)
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
    """The distinct values: sorted numbers, then the others in their original order."""
    distinct = list(dict.fromkeys(values))
    numbers = sorted(value for value in distinct if _is_number(value))  # type: ignore[type-var]
    return [*numbers, *(value for value in distinct if not _is_number(value))]


def _axis(values: Sequence[Value]) -> Shaped[np.ndarray, " value"]:
    """Convert values to a coordinate: numbers with NaN for None, otherwise text."""
    if all(value is None or _is_number(value) for value in values) and values != [None]:
        return np.array([np.nan if value is None else value for value in values])
    return np.array(["none" if value is None else str(value) for value in values])
