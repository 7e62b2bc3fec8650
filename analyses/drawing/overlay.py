"""Several runs over one another: accuracy, L1 norm and L2 norm over training."""

from collections.abc import Mapping

import plotly.graph_objects as go

from analyses.drawing.panels import Panels
from analyses.drawing.style import SHARE
from mechgrok.runs import Run


def overlay(runs: Mapping[str, Run], *, log: bool = True) -> go.Figure:
    """Accuracy (train dashed, test solid), L1 and L2 norm of all weights, a colour for each run.

    Args:
        runs: by the label that they get in the legend.
        log: a logarithmic step axis, on which the tickets' few hundred steps can be seen.
    """
    reached = ", ".join(
        f"{label} {'never' if run.t_gen is None else f'{run.t_gen:,}'}"
        for label, run in runs.items()
    )
    measured = {
        label: run.metrics.set_index("step").to_xarray().assign_attrs(run.milestones)
        for label, run in runs.items()
    }
    figure = Panels(measured, title=_title(runs), subtitle=f"t_gen: {reached}", log=log)
    accuracy = figure.row(height=270).over_training(y={"title": "accuracy", **SHARE})
    norms = {
        name: figure.row(height=150).over_training(y={"title": words, "rangemode": "tozero"})
        for name, words in (("l1", "L1 Σ|w|"), ("l2", "L2 √Σw²"))
    }
    for label, dataset in measured.items():
        for side, dash, width in (("train", "dash", 1.2), ("test", "solid", 2)):
            accuracy.lines(
                dataset.step,
                dataset[f"{side}_accuracy"],
                run=label,
                key=side,
                dash=dash,
                width=width,
                value="%{y:.2%}",
            )
        for name, panel in norms.items():
            panel.lines(dataset.step, dataset[name], run=label, value="%{y:,.4g}")
    return figure.draw()


def _title(runs: Mapping[str, Run]) -> str:
    """Who generalizes first, and by how much."""
    t_gen = {label: run.t_gen for label, run in runs.items() if run.t_gen}
    if not t_gen:
        return "None of the runs generalizes"
    first, last = min(t_gen, key=t_gen.__getitem__), max(t_gen, key=t_gen.__getitem__)
    if first == last:
        return f"{first} alone generalizes" if len(runs) > 1 else f"{first} generalizes"
    return f"{first} generalizes {t_gen[last] / t_gen[first]:,.1f} times as early as {last}"
