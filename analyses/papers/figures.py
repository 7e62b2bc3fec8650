"""Figures of groups of runs that the items share: curves over training, points over a setting."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from mechgrok.analyses.drawing import SHARE, Panel, Panels
from mechgrok.analyses.papers.claims import Estimate, Known
from mechgrok.analyses.papers.quantities import ask
from mechgrok.results.analysis import Analysis
from mechgrok.runs import Run
from mechgrok.sweeps import Sweep
from mechgrok.sweeps.survival import time_to_event

#: Groups of runs by the name that they have in a figure; None where there are none.
Groups = Mapping[str, Sweep | None]


def metrics_of(run: Run) -> xr.Dataset:
    """The metrics over steps, with t_mem and t_gen."""
    table = run.metrics.drop_duplicates("step").set_index("step")
    return table.to_xarray().assign_attrs(run.milestones)


def grouped(
    groups: Groups, measure: Callable[[Run], xr.Dataset] = metrics_of
) -> dict[str, xr.Dataset]:
    """A dataset of each run, by a label, with its group's name."""
    found: dict[str, xr.Dataset] = {}
    for group, sweep in groups.items():
        evaluated = [m for m in sweep.members if m.name in _evaluated(sweep)] if sweep else []
        for at, member in enumerate(evaluated):
            assert sweep is not None
            label = f"{group}, seed {member.settings.get('seed', at)}"
            label = label if label not in found else f"{label}, {member.name}"
            found[label] = measure(Run(sweep.path / member.name)).assign_attrs(group=group)
    return found


def _evaluated(sweep: Sweep) -> set[str]:
    steps = sweep.table["step"]
    return set(steps.index[steps.notna()])


def medians(groups: Groups, mark: str = "t_gen") -> str:
    """The median t_gen of each group in words, as Kaplan and Meier have it."""
    told = []
    for group, sweep in groups.items():
        if sweep is not None and (names := sorted(_evaluated(sweep))):
            waiting = time_to_event(sweep.table.loc[names], mark)
            told.append(f"{group} {waiting}")
    return f"median {mark}: {'; '.join(told)}" if told else "no run is there"


def accuracy_row(figure: Panels, title: str = "", *, height: float = 280) -> None:
    """Train and test accuracy of every run of the figure over training."""
    row = figure.row(height=height)
    panel = row.over_training(title, y={"title": "accuracy", **SHARE})
    for label, dataset in figure.measured.items():
        for side, dash, width in (("train", "dash", 1.2), ("test", "solid", 2)):
            curve = dataset[f"{side}_accuracy"]
            if curve.notnull().any():
                panel.lines(
                    dataset.step, curve, run=label, key=side, dash=dash, width=width,
                    value="%{y:.2%}",
                )  # fmt: skip


def accuracy_figure(groups: Groups, title: str, *, log: bool = True) -> go.Figure:
    """Train and test accuracy of groups of runs: medians, the middle half, single runs faint."""
    figure = Panels(grouped(groups), title=title, subtitle=medians(groups), log=log)
    accuracy_row(figure)
    return figure.draw()


def norms_figure(groups: Groups, title: str) -> go.Figure:
    """Accuracy, L1 and L2 norm of all weights of groups of runs."""
    figure = Panels(grouped(groups), title=title, subtitle=medians(groups), log=True)
    accuracy_row(figure)
    for name, words in (("l1", "L1 Σ|w|"), ("l2", "L2 √Σw²")):
        panel = figure.row(height=160).over_training(y={"title": words, "rangemode": "tozero"})
        for label, dataset in figure.measured.items():
            panel.lines(dataset.step, dataset[name], run=label)
    return figure.draw()


def analysis_figure(
    groups: Groups,
    analysis: str,
    *,
    look: Mapping[str, Any] | None = None,
    **options: Any,
) -> go.Figure:
    """The figure of an analysis, of groups of runs.

    Args:
        groups: the runs.
        analysis: its name.
        look: options of drawing.
        options: of measuring; ``steps`` are the nearest that have a checkpoint.
    """
    measured = grouped(groups, lambda run: ask(run, analysis, **options))
    return Analysis.load(analysis).draw(measured, **(look or {}))


def points(
    panel: Panel,
    values: Mapping[Any, Mapping[object, Known]],
    color: str,
    entry: str | None = None,
    hover: str = "%{y:.4g}",
) -> None:
    """A quantity over a setting: each seed a faint point, the median a line.

    A value that is only known to be larger is an open triangle at its bound.
    """
    for censored in (False, True):
        found = [
            (x, known.low if censored else known.high, str(seed))
            for x, of_seeds in values.items()
            for seed, known in of_seeds.items()
            if np.isinf(known.high) == censored and (known.low > 0 or not censored)
        ]
        if found:
            x, y, seeds = zip(*found, strict=True)
            symbol = "triangle-up-open" if censored else "circle"
            panel.add(
                "scatter", x=list(x), y=list(y), text=[f"seed {seed}" for seed in seeds],
                mode="markers", opacity=0.7 if censored else 0.4, color=color,
                marker={"symbol": symbol, "size": 8 if censored else 6},
                hover="%{text}<br>" + ("> " if censored else "") + hover,
            )  # fmt: skip
    middle = {x: Estimate.of(list(v.values())).median for x, v in values.items() if v}
    middle = {x: median for x, median in middle.items() if median.low > 0 or median.high == 0}
    symbols = ["triangle-up-open" if np.isinf(m.high) else "circle" for m in middle.values()]
    panel.add(
        "scatter", x=list(middle), y=[m.low for m in middle.values()], mode="lines+markers",
        line={"width": 2}, marker={"size": 9, "symbol": symbols}, entry=entry, color=color,
        text=[str(m) for m in middle.values()], hover="median %{text}",
    )  # fmt: skip


def by_setting(
    sweep: Sweep, name: str, quantity: Callable[[Sweep], Mapping[object, Known]]
) -> dict[Any, Mapping[object, Known]]:
    """A quantity of each seed, by the values of a setting of the runs."""
    found: dict[Any, Mapping[object, Known]] = {}
    for value in dict.fromkeys(member.settings.get(name) for member in sweep.members):
        found[value] = quantity(sweep.sel(**{name: value}))
    return dict(sorted(found.items())) if all(map(_is_number, found)) else found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)
