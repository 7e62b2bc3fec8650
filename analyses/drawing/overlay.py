"""Accuracy, L1 norm and L2 norm of several runs or groups of runs over training."""

from typing import Any

import plotly.graph_objects as go

from mechgrok.analyses.drawing.milestones import add_milestones
from mechgrok.analyses.drawing.panels import Panels
from mechgrok.analyses.drawing.phases import add_phases
from mechgrok.analyses.drawing.style import SHARE
from mechgrok.sweeps.groups import RunGroups


def overlay(family: RunGroups, *, log: bool = True) -> go.Figure:
    """Accuracy (train dashed, test solid), L1 and L2 norm of all weights, one colour per run.

    Groups have one colour each: thick medians, the middle half of the runs as a band, and faint
    single runs. Below are t_mem, t_gen and τ over the setting that defines the groups, and the
    phases over two settings.

    Args:
        family: the runs, by their label in the legend.
        log: a logarithmic step axis, which shows the first few hundred steps of winning tickets.
    """
    measured = family.grouped(
        {
            label: run.metrics.set_index("step")
            .to_xarray()
            .assign_attrs(run.milestones_at(family.at_accuracy))
            for label, run in family.runs.items()
        }
    )
    figure = Panels(
        measured,
        title="Accuracy and norms of the weights over training",
        subtitle="thick: a group's median, over the steps that all of its runs cover; band: its "
        "middle half"
        if family.by
        else "",
        log=log,
    )
    accuracy = figure.row(height=270).over_training(y={"title": "accuracy", **SHARE})
    for side, dash, width in (("train", "dash", 1.2), ("test", "solid", 2)):
        style: dict[str, Any] = {"key": side, "dash": dash, "width": width, "value": "%{y:.2%}"}
        accuracy.curves(f"{side}_accuracy", **style)
    for name, formula in (("l1", "L1 Σ|w|"), ("l2", "L2 √Σw²")):
        panel = figure.row(height=150).over_training(y={"title": formula, "rangemode": "tozero"})
        panel.curves(name, value="%{y:,.4g}")
    add_milestones(figure, family)
    add_phases(figure, family)
    return figure.draw()
