"""Figures of groups of runs for items: curves over training, points over a setting."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import xarray as xr

from mechgrok.analyses.drawing import COLORS, SHARE, Panel, Panels
from mechgrok.analyses.papers.estimates import Bounds, Estimate
from mechgrok.analyses.papers.quantities import (
    A_SHARE,
    BySeed,
    Quantity,
    by_setting,
    evaluated,
    nearest,
)
from mechgrok.measuring import analyze
from mechgrok.results.analysis import Analysis
from mechgrok.runs import Run
from mechgrok.sweeps import Sweep
from mechgrok.sweeps.survival import time_to_event

#: The figures of an item, by name.
Figures = dict[str, go.Figure]
#: Groups of runs: names in the figure, and settings that select the runs
#: (`mechgrok.analyses.papers.quantities.select`).
Groups = Mapping[str, Mapping[str, Any]]

_TRAIN: dict[str, Any] = {"key": "train", "dash": "dash", "width": 1.2}
_TEST: dict[str, Any] = {"key": "test"}
#: Rows of `training_figure`: the height, the y axis, and the style of each column of the metrics.
_ROWS: dict[str, tuple[int, dict[str, Any], dict[str, dict[str, Any]]]] = {
    "accuracy": (280, SHARE, {"train_accuracy": _TRAIN, "test_accuracy": _TEST}),
    "loss": (280, {"type": "log"}, {"train_loss": _TRAIN, "test_loss": _TEST}),
    "L1 Σ|w|": (160, {"rangemode": "tozero"}, {"l1": {}}),
    "L2 √Σw²": (160, {"rangemode": "tozero"}, {"l2": {}}),
}
#: All rows but the loss.
WITH_NORMS = ("accuracy", "L1 Σ|w|", "L2 √Σw²")


def training_figure(
    sweep: Sweep, groups: Groups, title: str, rows: Sequence[str] = ("accuracy",)
) -> go.Figure:
    """Metrics of groups of runs over training: medians, middle half, and faint single runs.

    Args:
        sweep: the sweep with the runs.
        groups: the groups of runs.
        title: the figure's title.
        rows: from top to bottom: accuracy, loss, and the norms of `WITH_NORMS`.
    """
    measured = _measured(sweep, groups, _metrics)
    figure = Panels(measured, title=title, subtitle=_medians(sweep, groups), log=True)
    for name in rows:
        height, y, columns = _ROWS[name]
        panel = figure.row(height=height).over_training(y={"title": name, **y})
        for label, dataset in measured.items():
            for column, style in columns.items():
                if dataset[column].notnull().any():
                    panel.lines(dataset.step, dataset[column], run=label, **style)
    return figure.draw()


def analysis_figure(
    sweep: Sweep,
    groups: Groups,
    analysis: str,
    *,
    at: float | None = None,
    drawing: Mapping[str, Any] | None = None,
    **options: Any,
) -> go.Figure:
    """The figure of an analysis for groups of runs.

    Args:
        sweep: the sweep with the runs.
        groups: the groups of runs.
        analysis: the analysis's name.
        at: measure the checkpoint nearest to this share of the run's most steps; default: the
            analysis's own selection of checkpoints.
        drawing: options for drawing.
        options: options for measuring.
    """

    def measure(run: Run) -> xr.Dataset:
        steps = None if at is None else [nearest(run, run.steps, at)]
        return analyze(run, analysis, steps=steps, **options)

    measured = _measured(sweep, groups, measure)
    return Analysis.load(analysis).draw(measured, **(drawing or {}))


def _measured(
    sweep: Sweep, groups: Groups, measure: Callable[[Run], xr.Dataset]
) -> dict[str, xr.Dataset]:
    """The dataset of each run by label, with its group in the attributes."""
    measured: dict[str, xr.Dataset] = {}
    for group, settings in groups.items():
        for at, member in enumerate(evaluated(sweep, **settings)):
            label = f"{group}, seed {member.settings.get('seed', at)}"
            label = label if label not in measured else f"{label}, {member.name}"
            measured[label] = measure(Run(sweep.path / member.name)).assign_attrs(group=group)
    return measured


def _metrics(run: Run) -> xr.Dataset:
    """The metrics over steps, with t_mem and t_gen."""
    table = run.metrics.drop_duplicates("step").set_index("step")
    return table.to_xarray().assign_attrs(run.milestones)


def _medians(sweep: Sweep, groups: Groups) -> str:
    """The Kaplan–Meier median of each group's t_gen."""
    medians = []
    for group, settings in groups.items():
        if names := sorted(member.name for member in evaluated(sweep, **settings)):
            medians.append(f"{group} {time_to_event(sweep.table.loc[names], 't_gen')}")
    return f"median t_gen: {'; '.join(medians)}" if medians else "no evaluated run"


def setting_figure(
    sweep: Sweep,
    title: str,
    setting: str,
    x: str | Mapping[str, Any],
    panels: Mapping[str, Mapping[str, Quantity]],
) -> go.Figure:
    """Quantities over a setting of the runs, in panels side by side.

    Args:
        sweep: the sweep with the runs.
        title: the figure's title.
        setting: the setting's name.
        x: the title of the setting's axis, or any of Plotly's attributes of an axis. A logarithmic
            axis has ticks at the setting's values.
        panels: quantities by legend entry, by the title of the y axis, which is logarithmic
            except for shares.
    """
    figure = Panels({}, title=title)
    row = figure.row(height=280, legend=any(len(quantities) > 1 for quantities in panels.values()))
    colors = iter(COLORS)
    for y, quantities in panels.items():
        is_share = all(quantity.possible == A_SHARE for quantity in quantities.values())
        panel = row.panel(x=x, y={"title": y, **(SHARE if is_share else {"type": "log"})})
        by_entry = {entry: by_setting(sweep, setting, q) for entry, q in quantities.items()}
        if panel.x.get("type") == "log":
            panel.x["tickvals"] = sorted(set(itertools.chain(*by_entry.values())))
        for entry, values in by_entry.items():
            points(panel, values, next(colors), entry)
    return figure.draw()


def points(
    panel: Panel,
    values: Mapping[Any, BySeed],
    color: str,
    entry: str = "",
    *,
    sideways: bool = False,
) -> None:
    """Draw a quantity of several kinds of runs: seeds as faint points, medians joined by a line.

    A censored value is an open triangle at its bound.

    Args:
        panel: the panel to draw on.
        values: the value of each seed, by kind of run: a value of a setting, or a name.
        color: of points and line.
        entry: the legend entry.
        sideways: whether kinds of runs are on the y axis, without a line.
    """
    singles = [
        (kind, bounds, f"seed {seed}: {bounds}")
        for kind, of_seeds in values.items()
        for seed, bounds in of_seeds.items()
    ]
    medians = {k: Estimate.of(list(v.values())).median for k, v in values.items() if v}
    middle = [(kind, median, f"median {median}") for kind, median in medians.items()]
    faint: dict[str, Any] = {"mode": "markers", "opacity": 0.5, "marker": {"size": 7}}
    mode = "markers" if sideways else "lines+markers"
    strong: dict[str, Any] = {"mode": mode, "marker": {"size": 10}, "entry": entry}
    for points_, style in ((singles, faint), (middle, strong)):
        shown = [point for point in points_ if _can_be_drawn(point[1])]
        kinds = [kind for kind, _, _ in shown]
        places = [bounds.low for _, bounds, _ in shown]
        x, y = (places, kinds) if sideways else (kinds, places)
        beyond = "triangle-right-open" if sideways else "triangle-up-open"
        symbols = [beyond if math.isinf(bounds.high) else "circle" for _, bounds, _ in shown]
        style["marker"]["symbol"] = symbols
        text = [text for _, _, text in shown]
        panel.add("scatter", x=x, y=y, text=text, hover="%{text}", color=color, **style)


def _can_be_drawn(bounds: Bounds) -> bool:
    """Whether the value has a lower bound, or is exactly 0."""
    return bounds.low > 0 or bounds.high == 0
