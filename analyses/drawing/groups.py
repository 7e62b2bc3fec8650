"""Runs in groups: a median with a band for each, its single runs faint behind it.

A dataset whose attribute ``group`` names a group belongs to it (`mechgrok.sweeps.RunGroups`).
`Panels` gives each group one colour and draws `Panel.lines` of its runs faint, with their median
and their middle half, so that every figure of runs can show groups; what can only be pictured of
one run is pictured of the group's `representatives`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from mechgrok.sweeps.survival import TimeToEvent

if TYPE_CHECKING:
    from mechgrok.analyses.drawing.panel import Panel, Trace

#: Entries of the menu of a figure of groups: whether medians, and whether single runs, are shown.
_MENU = {
    "medians and runs": (True, True),
    "medians": (True, False),
    "single runs": (False, True),
}


@dataclass
class GroupCurves:
    """The curves of a group's runs that mean the same: one quantity on one panel.

    Attributes:
        style: how they are drawn, as `Panel.lines` takes it.
        runs: places and values of each run's curve.
        traces: the traces that draw them.
    """

    style: dict[str, Any]
    runs: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    traces: list["Trace"] = field(default_factory=list)

    def add(self, run: str, x: np.ndarray, y: np.ndarray, trace: "Trace") -> None:
        """Add the curve of a run."""
        self.runs[run] = (x, y)
        self.traces.append(trace)

    def quartiles(
        self,
    ) -> tuple[Float[np.ndarray, " place"], Float[np.ndarray, "quartile place"]] | None:
        """Places, and the quartiles of the curves there.

        They go as far as all curves of the group do, interpolated linearly. None where there is
        but one curve, or where places are no growing numbers.
        """
        curves = list(self.runs.values())
        if len(curves) < 2 or not all(_is_increasing(x) for x, _ in curves):
            return None
        start, end = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
        places = np.unique(np.concatenate([x for x, _ in curves]))
        places = places[(places >= start) & (places <= end)]
        values = np.stack([np.interp(places, x, y) for x, y in curves])
        finite = np.isfinite(values).all(0)
        if not finite.any():
            return None
        return places[finite], np.quantile(values[:, finite], [0.25, 0.5, 0.75], axis=0)

    def add_median(self, panel: "Panel") -> None:
        """Draw the median of the curves and their middle half, and make single curves faint."""
        found = self.quartiles()
        if found is None:
            return
        x, (low, middle, high) = found
        run, style = next(iter(self.runs)), dict(self.style)
        value = style.pop("value")
        color = style["line"].get("color") or panel.figure.color_of(run)
        band: dict[str, Any] = {
            "fill": "toself",
            "fillcolor": color,
            "opacity": 0.16,
            "line": {"width": 0},
        }
        around: dict[str, Any] = {
            "x": np.concatenate([x, x[::-1]]),
            "y": np.concatenate([low, high[::-1]]),
        }
        hover = value and f"{panel.figure.groups[run]}, median of {len(self.runs)}<br>{value}"
        style = {key: given for key, given in style.items() if key != "opacity"} | {"mode": "lines"}
        medians = [
            panel.add("scatter", run=run, mode="lines", **around, **band),
            panel.add("scatter", run=run, hover=hover, x=x, y=middle.astype(np.float32), **style),
        ]
        for trace in self.traces:
            line = trace.attributes["line"] | {"width": 0.8}
            trace.attributes |= {"opacity": 0.25, "mode": "lines", "line": line}
            trace.choices = {entry: {"visible": single} for entry, (_, single) in _MENU.items()}
        for trace in medians:
            trace.choices = {entry: {"visible": median} for entry, (median, _) in _MENU.items()}


def _is_increasing(x: np.ndarray) -> bool:
    return len(x) > 0 and x.dtype.kind in "iuf" and bool((np.diff(x) > 0).all())


def groups_of(measured: Mapping[str, xr.Dataset]) -> dict[str, str]:
    """The group of each run that has one."""
    return {label: ds.attrs["group"] for label, ds in measured.items() if "group" in ds.attrs}


def representatives(measured: Mapping[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    """The runs to make pictures of: of each group the one with the median t_gen; else all.

    They are runs by themselves then, and belong to no group.
    """
    groups = groups_of(measured)
    chosen = dict(measured)
    for group in dict.fromkeys(groups.values()):
        labels = [label for label in measured if groups.get(label) == group]
        labels.sort(key=lambda label: measured[label].attrs.get("t_gen") or np.inf)
        middle = labels[(len(labels) - 1) // 2]
        chosen = {k: ds for k, ds in chosen.items() if groups.get(k) != group or k == middle}
    for label, dataset in chosen.items():
        attrs = {name: value for name, value in dataset.attrs.items() if name != "group"}
        chosen[label] = dataset.drop_attrs(deep=False).assign_attrs(attrs)
    return chosen


def median_milestone(datasets: Sequence[xr.Dataset], mark: str) -> float | None:
    """The median step of t_mem or t_gen over runs, as Kaplan and Meier have it; None if beyond."""
    reached = [dataset.attrs.get(mark) for dataset in datasets]
    if len(datasets) == 1:
        return reached[0]
    last = [float(ds["step"].max()) if "step" in ds.coords else np.inf for ds in datasets]
    median = TimeToEvent.of(reached, last).median
    return float(median) if np.isfinite(median) else None
