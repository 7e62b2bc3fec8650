"""Groups of runs in figures: a median with a band for each group, single runs faint behind it.

The attribute ``group`` of a dataset names its group (`mechgrok.sweeps.RunGroups`). `Panels` gives
each group one colour, draws `Panel.lines` of its runs faint, and adds their median and middle half.
Pictures of a single run, such as heat maps, show the group's `representatives`.
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

#: Menu entries of a figure of groups: whether to show medians, and whether to show single runs.
_MENU = {"medians and runs": (True, True), "medians": (True, False), "single runs": (False, True)}


@dataclass
class GroupCurves:
    """The curves of a group's runs for one quantity on one panel.

    Attributes:
        style: the style arguments of `Panel.lines`.
        runs: x and y of each run's curve.
        traces: the traces of the curves.
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
        """The x values and the quartiles of the curves, interpolated linearly.

        They cover the range that all curves share. None for a single curve, or if x values are not
        increasing numbers.
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
        """Draw the median and the middle half of the curves, and make single curves faint."""
        quartiles = self.quartiles()
        if quartiles is None:
            return
        x, (low, middle, high) = quartiles
        run, style = next(iter(self.runs)), dict(self.style)
        value = style.pop("value")
        color = style["line"].get("color") or panel.figure.color_of(run)
        band: dict[str, Any] = {"fill": "toself", "fillcolor": color, "opacity": 0.16}
        band |= {"line": {"width": 0}}
        around, edge = np.concatenate([x, x[::-1]]), np.concatenate([low, high[::-1]])
        hover = value and f"{panel.figure.groups[run]}, median of {len(self.runs)}<br>{value}"
        style = {k: v for k, v in style.items() if k != "opacity"} | {"mode": "lines"}
        medians = [
            panel.add("scatter", run=run, x=around, y=edge, mode="lines", **band),
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
    """The run with the median t_gen of each group, and all runs without a group.

    The datasets returned belong to no group.
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
    """The Kaplan–Meier median of a milestone over runs; None if it is censored."""
    reached = [dataset.attrs.get(mark) for dataset in datasets]
    if len(datasets) == 1:
        return reached[0]
    last = [float(ds["step"].max()) if "step" in ds.coords else np.inf for ds in datasets]
    median = TimeToEvent.of(reached, last).median
    return float(median) if np.isfinite(median) else None
