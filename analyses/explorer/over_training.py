"""The effect of interventions over training: figure and finding of `mechgrok.intervene`."""

from collections.abc import Mapping
from typing import Annotated, Any

import plotly.graph_objects as go
import xarray as xr

from mechgrok.analyses.drawing import SHARE, Panels
from mechgrok.interventions import from_toml

_STATES: dict[str, dict[str, Any]] = {"whole": {"dash": "dash", "opacity": 0.6}, "intervened": {}}


def in_words(dataset: xr.Dataset) -> str:
    """The interventions as Python."""
    code = [repr(intervention) for intervention in from_toml(dataset.attrs["interventions"])]
    return ", ".join(code) or "no intervention"


def finding(dataset: xr.Dataset) -> str:
    """The change of the test curve at the last step, and its largest change."""
    quantity = dataset.attrs["quantity"]
    curve = dataset[quantity].sel(side="test")
    change = curve.sel(state="intervened") - curve.sel(state="whole")
    last = curve.isel(step=-1)
    text = (
        f"test {quantity} {float(last.sel(state='whole')):.3g} becomes "
        f"{float(last.sel(state='intervened')):.3g} at step {int(last.step):,}"
    )
    finite = change.dropna("step")
    if finite.sizes["step"] < 2 or not abs(finite).max():
        return text
    at = finite.isel(step=int(abs(finite).argmax("step")))
    return f"{text}; the largest change is {float(at):+.3g}, at step {int(at.step):,}"


def draw(
    measured: Mapping[str, xr.Dataset], *, log: Annotated[bool, "logarithmic step axis"] = True
) -> go.Figure:
    """Accuracy above loss and test beside train; dashed curves are without interventions."""
    done = {in_words(dataset) for dataset in measured.values()}
    figure = Panels(
        measured, title=f"With {' and '.join(sorted(done))}", subtitle=_subtitle(measured), log=log
    )
    units = sorted({str(dataset.loss.attrs.get("units", "")) for dataset in measured.values()})
    accuracy, loss = figure.row(height=280), figure.row(height=200)
    titles = {"test": ("accuracy", f"loss ({', '.join(units)})"), "train": ("", "")}
    for side, (share, log_loss) in titles.items():
        axes = {"title": share, **SHARE}, {"title": log_loss, "type": "log"}
        panels = {
            "accuracy": accuracy.over_training(f"{side} accuracy", y=axes[0]),
            "loss": loss.over_training(f"{side} loss", y=axes[1]),
        }
        for label, dataset in measured.items():
            for quantity, panel in panels.items():
                for state, style in _STATES.items():
                    curve = dataset[quantity].sel(side=side, state=state)
                    panel.lines(dataset.step, curve, run=label, key=state, **style)
    return figure.draw()


def _subtitle(measured: Mapping[str, xr.Dataset]) -> str:
    if len(measured) > 6:
        return ""
    return "<br>".join(f"{label}: {finding(dataset)}" for label, dataset in measured.items())
