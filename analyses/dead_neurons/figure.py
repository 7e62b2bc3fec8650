"""The dead-neurons figure: counts, norms, and knock-outs with a slider."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from mechgrok.analyses.drawing import (
    DEAD,
    LogAxis,
    Measured,
    Panel,
    Panels,
    Row,
    frequency_color,
)
from mechgrok.analyses.measures.formats import format_number, format_percent
from mechgrok.analyses.measures.harmonics import parts_of_neurons
from mechgrok.analyses.measures.spacing import thin
from mechgrok.errors import UserError

#: The most neurons in a panel: evenly chosen for norms, the costliest for bars.
_SHOWN = 128


def draw(
    measured: Measured,
    *,
    side: Annotated[
        Literal["train", "test"], "evaluate knock-outs on this side of the split"
    ] = "test",
    log: LogAxis = True,
) -> go.Figure:
    """Counts of dead neurons, effects of killing and reviving, norms, and knock-outs by step."""
    if len(measured) > 6:
        raise UserError(f"{len(measured)} runs do not fit into one figure: give at most 6.")
    first = next(iter(measured.values()))
    quantity = str(first.attrs["quantity"])
    figure = Panels(
        measured,
        title="Dead neurons over training, and the network without single neurons",
        subtitle=f"dead: no unpruned input weight, or input norm below {first.tolerance:g} of the "
        "largest; grey bars are dead; edges: "
        + ", ".join(sorted({str(dataset.edges) for dataset in measured.values()})),
        log=log,
        along="knockout",
    )
    _draw_counts(figure, side, quantity)
    row = figure.row(height=200)
    for label, dataset in measured.items():
        _draw_norms(row, dataset, label)
    row = figure.row(height=200)
    for label, dataset in figure.pictured.items():
        _draw_without_one(row, dataset, label, side, quantity)
    if any("frequency" in dataset.dims for dataset in measured.values()):
        row = figure.row(height=200)
        for label, dataset in figure.pictured.items():
            if "frequency" in dataset.dims:
                _draw_without_frequency(row, dataset, label, side, quantity)
            else:
                row.empty()
    return figure.draw()


def _draw_without_one(row: Row, dataset: xr.Dataset, label: str, side: str, quantity: str) -> None:
    """Draw the cost of removing each neuron, dead ones grey, others coloured by frequency."""
    has_frequency, title = "frequency" in dataset.dims, _cost_title(side, quantity)
    by = "strongest frequency" if has_frequency else "cost"
    panel = row.panel(
        f"{label}: {title} without one neuron",
        x={"title": f"neuron, by {by}", "showticklabels": False, "ticks": ""},
        y={"title": title, **_same_scale(row, f"{quantity}_without", side, quantity)},
    )

    def at(now: xr.Dataset) -> dict[str, Any]:
        dead = dataset.dead.sel(step=int(now.knockout)).to_numpy()
        cost = _cost(now, f"{quantity}_without", side, quantity).to_numpy()
        details = [np.arange(len(cost)), now.firing.to_numpy()]
        color = np.full(len(cost), panel.figure.color_of(label))
        order = np.argsort(-cost, kind="stable")[:_SHOWN]
        if has_frequency:
            frequency = now.frequency_of.to_numpy()
            details.append(frequency)
            color = np.array([frequency_color(k) for k in frequency.tolist()])
            order = np.lexsort((-cost, frequency, dead))
        return {
            "x": np.arange(len(order)),
            "y": cost[order],
            "customdata": np.stack(details, 1)[order],
            "marker": {"color": np.where(dead, DEAD, color)[order]},
        }

    wave = ", ω = %{customdata[2]}" if has_frequency else ""
    hover = f"neuron %{{customdata[0]}}{wave}<br>fires on %{{customdata[1]:.0%}} of all examples"
    panel.add("bar", run=label, at=at, hover=f"{hover}<br>%{{y:.3g}}")

    def costliest(now: xr.Dataset) -> str:
        cost = _cost(now, f"{quantity}_without", side, quantity).to_numpy()
        return f"neuron {cost.argmax()}: {_format_cost(cost.max(), quantity)}"

    _name_costliest(panel, label, costliest, (min(dataset.sizes["neuron"], _SHOWN) - 1))


def _draw_without_frequency(
    row: Row, dataset: xr.Dataset, label: str, side: str, quantity: str
) -> None:
    """Draw the cost of removing all living neurons of a frequency."""
    name, title = f"{quantity}_without_frequency", _cost_title(side, quantity)
    y = {"title": title, **_same_scale(row, name, side, quantity)}
    panel = row.panel(f"{label}: {title} without a frequency", x="frequency ω of the group", y=y)
    omega = dataset.frequency.to_numpy().tolist()

    def at(now: xr.Dataset) -> dict[str, Any]:
        alive = ~dataset.dead.sel(step=int(now.knockout)).to_numpy()
        members = np.bincount(now.frequency_of.to_numpy()[alive], minlength=len(omega))
        cost = _cost(now, name, side, quantity).fillna(0).to_numpy()
        return {"y": cost, "customdata": members}

    hover = "ω = %{x}: %{customdata} neurons<br>%{y:.3g}"
    marker = {"color": [frequency_color(k) for k in omega]}
    panel.add("bar", run=label, at=at, hover=hover, x=omega, marker=marker)
    last = dataset.isel(knockout=-1)
    panel.mark_parts(parts_of_neurons(last.frequency_of.to_numpy()))

    def costliest(now: xr.Dataset) -> str:
        cost = _cost(now, name, side, quantity).fillna(0).to_numpy()
        return f"ω = {cost.argmax()}: {_format_cost(cost.max(), quantity)}"

    _name_costliest(panel, label, costliest, omega[-1])


def _name_costliest(
    panel: Panel, label: str, text: Callable[[xr.Dataset], str], right: float
) -> None:
    """Write which bar is the highest, and its height, into the panel's upper right corner."""
    corner: dict[str, Any] = {
        "x": [right],
        "y": [panel.y["range"][1]],
        "textposition": "bottom left",
    }
    panel.add(
        "scatter", run=label, at=lambda now: {"text": [f"highest: {text(now)}"]}, mode="text",
        textfont={"size": 11}, **corner,
    )  # fmt: skip


def _format_cost(cost: float, quantity: str) -> str:
    return format_percent(cost) if quantity == "accuracy" else format_number(cost)


def _cost_title(side: str, quantity: str) -> str:
    return f"fall of {side} accuracy" if quantity == "accuracy" else f"rise of {side} loss"


def _cost(dataset: xr.Dataset, name: str, side: str, quantity: str) -> xr.DataArray:
    """The cost of a removal: the fall of accuracy, or the rise of loss."""
    sign = -1 if quantity == "accuracy" else 1
    judged = dataset.sel(side=side)
    return sign * (judged[name] - judged[quantity].sel(state="whole", drop=True))


def _same_scale(row: Row, name: str, side: str, quantity: str) -> dict[str, Any]:
    """One range for all steps and runs, so that bars are comparable along the slider."""
    datasets = row.figure.measured.values()
    costs = [_cost(ds, name, side, quantity) for ds in datasets if name in ds]
    low = min(0.0, *(float(cost.min()) for cost in costs))
    high = max(1e-3, *(float(cost.max()) for cost in costs))
    margin = 0.05 * (high - low)
    percent = {"tickformat": ".1%" if high < 0.05 else ".0%"} if quantity == "accuracy" else {}
    return {"range": [low - margin, high + margin], **percent}


#: The style of a state over training.
_STYLES: dict[str, dict[str, Any]] = {
    "whole": {"dash": "solid", "width": 3, "opacity": 0.5},
    "killed": {"dash": "longdash"},
    "pruned": {"dash": "dashdot"},
    "revived": {"dash": "dot"},
}


def _draw_counts(figure: Panels, side: str, quantity: str) -> None:
    """Draw the number of dead neurons, their edges, and the effect of killing and reviving them."""
    datasets, row = figure.measured.values(), figure.row(height=200)
    most = max(float(dataset.dead.sum("neuron").max()) for dataset in datasets)
    axis = {"title": "neurons", "range": [0, 1.08 * max(4, most)]}
    panel = row.over_training("dead neurons", y=axis)
    panel.curves(lambda dataset: dataset.dead.sum("neuron"), value="%{y} dead")
    most = max(float(dataset.edge_share.max()) for dataset in datasets)
    axis = {"title": "share", "tickformat": ".2~%", "range": [0, 1.08 * max(0.01, most)]}
    panel = row.over_training("edges at dead neurons", y=axis)
    panel.curves("edge_share", value="%{y:.2%} of the edges")
    axis = {"tickformat": "~%"} if quantity == "accuracy" else {"type": "log"}
    title = f"{side} {quantity}: whole, dead killed, under the mask, dead revived"
    panel = row.over_training(title, y=axis)
    for state, style in _STYLES.items():
        panel.curves(quantity, where={"side": side, "state": state}, key=state, **style)


def _draw_norms(row: Row, dataset: xr.Dataset, label: str) -> None:
    """Draw each neuron's input norm relative to the largest; neurons that die are black."""
    relative = dataset.input_norm / dataset.input_norm.max("neuron")
    # A logarithmic axis cannot show the norm 0 of a fully pruned neuron.
    relative, tolerance = relative.where(relative > 0), dataset.attrs["tolerance"]
    lowest = np.log10(max(1e-5, min(float(relative.min()), tolerance or 1)))
    axis: dict[str, Any] = {"title": "share of the largest", "type": "log", "dtick": 1}
    axis |= {"range": [lowest - 0.2, 0.1]}
    panel = row.over_training(f"{label}: input norm of each neuron", y=axis, marks=[label])
    ever_dead = dataset.dead.any("step").to_numpy()
    shown = thin(dataset.neuron.to_numpy().tolist(), _SHOWN)
    faint, black = {"opacity": 0.35}, {"opacity": 0.8, "color": "#000000"}
    for is_dead, style in ((False, faint), (True, black)):
        if chosen := [neuron for neuron in shown if ever_dead[neuron] == is_dead]:
            panel.bundle(
                dataset.step,
                relative.sel(neuron=chosen).transpose("neuron", "step"),
                run=label,
                entry="dead at some step" if is_dead else None,
                mode="lines" if dataset.sizes["step"] > 1 else "markers",
                customdata=np.repeat(chosen, dataset.sizes["step"] + 1),
                hover="neuron %{customdata}<br>%{y:.3g} of the largest",
                width=0.8,
                **style,
            )
    if tolerance > 0:
        panel.level(tolerance, "dead below")
