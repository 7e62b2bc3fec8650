"""When does the network memorize, and when does it generalize? Accuracy and loss on both sides.

t_mem and t_gen are the first evaluated steps at which the train and the test curve meet the task's
criterion; τ_grok = t_gen / t_mem is the delay (Minegishi et al. 2023, arXiv 2310.19470).
"""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
import xarray as xr

from mechgrok.analyses.drawing import SHARE, LogAxis, Measured, Panels
from mechgrok.analyses.measures.formats import format_change
from mechgrok.results.variables import Variable, described
from mechgrok.runs import Run


def applies(run: Run) -> str | None:
    """The run must have been evaluated."""
    return "it was never evaluated: it has no metrics yet." if run.metrics.empty else None


VARIABLES = {
    "train_accuracy": Variable("step", "share", "right answers on the training set"),
    "test_accuracy": Variable("step", "share", "right answers on the test set"),
    "train_loss": Variable("step", "{units of the loss}", "the task's loss on the training set"),
    "test_loss": Variable("step", "{units of the loss}", "the task's loss on the test set"),
}
#: The variables over steps that use labels of the test set.
USES_TEST_LABELS = ("test_accuracy", "test_loss")


def measure(run: Run, *, steps: Sequence[int] | None = None) -> xr.Dataset:
    """Accuracy and loss at every evaluation, or at the given steps.

    Returns:
        `VARIABLES`; the attributes hold the milestones that were reached.
    """
    table = run.metrics
    if steps is not None:
        table = table[table.step.isin(run.select(steps))]
    quantity, level = run.task.criterion
    return described(
        VARIABLES,
        {name: table[name].to_numpy() for name in VARIABLES},
        {"step": table.step.to_numpy()},
        {**run.milestones, "criterion": quantity, "level": level},
        {"units of the loss": run.task.loss_units},
    )


def finding(dataset: xr.Dataset) -> str:
    """The milestones as far as they were reached, and the last value of the test curve."""
    attrs, name = dataset.attrs, f"test_{dataset.attrs['criterion']}"
    marks = ", ".join(f"{m} {attrs[m]:,}" if m in attrs else f"no {m}" for m in ("t_mem", "t_gen"))
    collapse = f", collapses at {attrs['t_collapse']:,}" if "t_collapse" in attrs else ""
    delay = f", τ_grok {attrs['tau_grok']:,.1f}" if "tau_grok" in attrs else ""
    last = dataset[name].dropna("step")[-1:]
    return (
        f"{marks}{collapse}{delay} at {attrs['criterion']} {attrs['level']:g}; "
        f"{name.replace('_', ' ')} {format_change(last)} at step {int(dataset.step[-1]):,}"
    )


_SIDES: dict[str, dict[str, Any]] = {"train": {"dash": "dash", "opacity": 0.65}, "test": {}}


def draw(measured: Measured, *, log: LogAxis = True) -> go.Figure:
    """Accuracy above loss, runs in colours, train dashed and test solid."""
    figure = Panels(measured, title="Accuracy and loss over training", log=log)
    units = sorted({str(ds.test_loss.attrs.get("units", "")) for ds in measured.values()} - {""})
    loss = f"loss ({', '.join(units)})" if units else "loss"
    panels = {
        "accuracy": figure.row(height=300).over_training(y={"title": "accuracy", **SHARE}),
        "loss": figure.row(height=200).over_training(y={"title": loss, "type": "log"}),
    }
    for quantity, panel in panels.items():
        for side, style in _SIDES.items():
            panel.curves(f"{side}_{quantity}", key=side, **style)
    return figure.draw()
