"""When did it memorize and when did it generalize? Accuracy and loss on both sides of the split.

t_mem and t_gen are the first evaluated steps at which the train and the test curve meet the task's
criterion; τ_grok = t_gen / t_mem is the delay (Minegishi et al. 2023, arXiv 2310.19470).
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import plotly.graph_objects as go
import xarray as xr

from mechgrok.analyses.drawing import SHARE, Panels
from mechgrok.results.variables import Variable, described
from mechgrok.runs import Run


def applies(run: Run) -> str | None:
    """There must be something to read."""
    return "it was never evaluated: it has no metrics yet." if run.metrics.empty else None


VARIABLES = {
    "train_accuracy": Variable("step", "share", "right answers on the training set"),
    "test_accuracy": Variable("step", "share", "right answers on the test set"),
    "train_loss": Variable("step", "{units of the loss}", "the task's loss on the training set"),
    "test_loss": Variable("step", "{units of the loss}", "the task's loss on the test set"),
}


def measure(run: Run, *, steps: Sequence[int] | None = None) -> xr.Dataset:
    """Accuracy and loss at every evaluation, or at the given steps.

    Returns:
        `VARIABLES`; t_mem, t_gen and tau_grok are in the attributes where reached.
    """
    table = run.metrics
    if steps is not None:
        table = table[table.step.isin(run.select(steps))]
    quantity, level = run.task.criterion
    reached = {"t_mem": run.t_mem, "t_gen": run.t_gen, "tau_grok": run.tau_grok}
    return described(
        VARIABLES,
        {name: table[name].to_numpy() for name in VARIABLES},
        {"step": table.step.to_numpy()},
        {
            **{key: value for key, value in reached.items() if value is not None},
            "criterion": quantity,
            "level": level,
        },
        {"units of the loss": run.task.loss_units},
    )


def finding(dataset: xr.Dataset) -> str:
    """t_mem, t_gen and τ_grok, or how far it came."""
    attrs, last = dataset.attrs, dataset.isel(step=-1)
    quantity, level = attrs["criterion"], attrs["level"]
    if "t_gen" not in attrs:
        curve = dataset[f"test_{quantity}"].dropna("step")
        reached = f"test {quantity} {float(curve[-1]):.3g}" if curve.size else "never evaluated"
        if curve.size and (curve[-1] >= level if quantity == "accuracy" else curve[-1] <= level):
            return f"{reached} at step {int(last.step):,}; when it was reached is not known"
        return (
            f"memorized at step {attrs['t_mem']:,} but" if "t_mem" in attrs else "did not memorize,"
        ) + f" not generalized by step {int(last.step):,} ({reached})"
    if "t_mem" not in attrs:
        return f"t_gen {attrs['t_gen']:,} (test {quantity} {level:g})"
    text = f"t_mem {attrs['t_mem']:,}, t_gen {attrs['t_gen']:,} at {quantity} {level:g}"
    return f"{text}: τ_grok {attrs['tau_grok']:,.1f}" if "tau_grok" in attrs else text


def draw(
    measured: Mapping[str, xr.Dataset],
    *,
    log: Annotated[bool, "logarithmic step axis"] = True,
) -> go.Figure:
    """Accuracy above loss, runs in colours, train dashed and test solid."""
    figure = Panels(measured, title=_title(measured), subtitle=_subtitle(measured), log=log)
    units = sorted({str(ds.test_loss.attrs.get("units", "")) for ds in measured.values()} - {""})
    loss = f"loss ({', '.join(units)})" if units else "loss"
    panels = {
        "accuracy": figure.row(height=300).over_training(y={"title": "accuracy", **SHARE}),
        "loss": figure.row(height=200).over_training(y={"title": loss, "type": "log"}),
    }
    for label, dataset in measured.items():
        for side, look in _SIDES.items():
            for quantity, panel in panels.items():
                curve = dataset[f"{side}_{quantity}"]
                panel.lines(dataset.step, curve, run=label, key=side, **look)
    return figure.draw()


def _title(measured: Mapping[str, xr.Dataset]) -> str:
    """By how much test accuracy comes later than train accuracy, in the runs that reach both."""
    delays = [ds.attrs["tau_grok"] for ds in measured.values() if "tau_grok" in ds.attrs]
    if not delays or max(delays) < 1.05:
        return "Accuracy and loss over training"
    ends = dict.fromkeys(f"{each:,.3g}" for each in (min(delays), max(delays)))
    return f"Test accuracy follows train accuracy after {' to '.join(ends)} times as many steps"


def _subtitle(measured: Mapping[str, xr.Dataset]) -> str:
    """A line for each of a few runs; of many, how many generalize and when."""
    if len(measured) <= 6:
        return "<br>".join(f"{label}: {finding(dataset)}" for label, dataset in measured.items())
    steps = [ds.attrs["t_gen"] for ds in measured.values() if "t_gen" in ds.attrs]
    when = f", from step {min(steps):,} to {max(steps):,}" if steps else ""
    return f"{len(steps)} of {len(measured)} runs generalize{when}"


_SIDES: dict[str, dict[str, Any]] = {"train": {"dash": "dash", "opacity": 0.65}, "test": {}}
