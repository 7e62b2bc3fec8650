"""The activations figure: grids of the most active neurons, and a summary of all neurons."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from jaxtyping import Shaped

from mechgrok.analyses.activations.measurement import STOPS
from mechgrok.analyses.drawing import DIVERGING, SHARE, LogAxis, Measured, Panel, Panels
from mechgrok.analyses.drawing.panel import AtStep
from mechgrok.analyses.measures.harmonics import part_labels, parts_of_neurons

#: Powers of ten on the colour scale of amplitudes.
_DECADES = 3


def draw(measured: Measured, *, log: LogAxis = True) -> go.Figure:
    """A block of panels for each run with one neuron per column, and all neurons below."""
    measured = {label: _without_mean(dataset) for label, dataset in measured.items()}
    labels = part_labels(*measured.values())
    figure = Panels(
        measured,
        title="Activations over all pairs (a, b), and the neurons' effect on the logits",
        subtitle=f"{labels.symbol}: the {labels.word} that explains most at the last step, with "
        "its share of the variance",
        log=log,
        stops=STOPS,
    )
    width = max(_width(dataset) for dataset in measured.values())
    for label, dataset in figure.pictured.items():
        _draw_grids(figure, dataset, label, width)
        _draw_transforms(figure, dataset, label, width)
        _draw_pushes(figure, dataset, label, width)
        if "attention" in dataset:
            _draw_heads(figure, dataset, label, width)
    row = figure.row(height=200)
    title = f"a single {labels.word}'s share, median over neurons"
    panel = row.over_training(title, y={"title": "of variance", **SHARE})
    panel.curves(_median, value="%{y:.1%} explained", follow=True)
    most = max(len(part_labels(dataset).names) for dataset in measured.values())
    axis = labels.axis | {"range": [-0.5, most - 0.5]}
    panel = row.panel("all neurons", x=axis, y=SHARE)
    hover = "neuron %{customdata[0]}<br>%{customdata[1]}<br>%{y:.1%}"
    for label in measured:
        dots: dict[str, Any] = {"mode": "markers", "marker": {"opacity": 0.6}}
        panel.add("scatter", run=label, at=_neurons, hover=hover, **dots)
        last = measured[label].isel(step=-1)
        panel.mark_parts(parts_of_neurons(last.frequency_of.to_numpy()[last.variance > 0]))
    return figure.draw()


def _median(dataset: xr.Dataset) -> xr.DataArray:
    """The median explained share over neurons whose activation varies."""
    return dataset.explained.median("neuron", skipna=True)


def _width(dataset: xr.Dataset) -> int:
    """The number of panels in a row, one per neuron or head, and at least two."""
    return max(2, dataset.sizes["shown"], min(4, dataset.sizes.get("head", 0)))


def _without_mean(dataset: xr.Dataset) -> xr.Dataset:
    """The dataset with the mean's amplitude masked, which would hide the waves."""
    return dataset.assign(transform=dataset.transform.where((dataset.i != 0) | (dataset.j != 0)))


def _neurons(at: xr.Dataset) -> dict[str, Any]:
    responds, labels = at.variance.to_numpy() > 0, part_labels(at)
    part = at.frequency_of.to_numpy()[responds]
    names = [f"{labels.word} {name}" for name in np.asarray(labels.names)[part]]
    return {
        "x": part,
        "y": at.explained.to_numpy()[responds],
        "customdata": np.stack([at.neuron.to_numpy()[responds].astype(str), names], -1),
    }


def _panels(
    figure: Panels,
    height: float,
    width: int,
    titles: Sequence[str],
    x: dict[str, Any],
    y: dict[str, Any],
    *,
    continues: bool = False,
) -> list[Panel]:
    """A row of panels, one for each title, with the same axes."""
    row = figure.row(height=height, continues=continues)
    x, y = {"showgrid": False, "nticks": 4} | x, {"showgrid": False, "nticks": 5} | y
    panels = [
        row.panel(title, x=x, y=y | ({"title": ""} if place else {}))
        for place, title in enumerate(titles)
    ]
    row.fill(width)
    return panels


def _names(dataset: xr.Dataset) -> Shaped[np.ndarray, " n"]:
    """The names of operands and answers, in their order: residues, or a group's elements."""
    return np.asarray(dataset["element" if "element" in dataset else "answer"])


def _grid(dataset: xr.Dataset) -> dict[str, Any]:
    """Coordinates of a heat map over all pairs, and the names shown on hover.

    Elements of a group are placed by name; residues may be in multiplicative order.
    """
    names = _names(dataset)
    if "element" in dataset:
        return {"x": names, "y": names}
    return {"customdata": np.stack(np.meshgrid(names, names, indexing="ij"), -1)}


def _axis(title: str, dataset: xr.Dataset) -> dict[str, Any]:
    """An axis of operands or answers; elements of a group appear only on hover."""
    if "element" in dataset:
        return {"title": title, "type": "category", "showticklabels": False, "ticks": ""}
    return {"title": title if dataset.attrs["order"] == "additive" else f"log {title}"}


def _pair(dataset: xr.Dataset) -> str:
    """The hover template for a cell of `_grid`."""
    if "element" in dataset:
        return "a = %{y}, b = %{x}"
    return "a = %{customdata[0]}, b = %{customdata[1]}"


def _slice(name: str, place: int, attribute: str, **where: str) -> AtStep:
    """A variable at one neuron or head and at a step, as an attribute of a trace."""
    return lambda now: {attribute: now[name].sel(where)[place].to_numpy()}


def _draw_grids(figure: Panels, dataset: xr.Dataset, label: str, width: int) -> None:
    """Draw the activation of each shown neuron over all pairs."""
    last, labels = dataset.isel(step=-1), part_labels(dataset)
    titles = []
    for neuron in dataset.shown.to_numpy().tolist():
        chosen = last.sel(neuron=neuron)
        best = f"{labels.symbol} = {labels.names[int(chosen.frequency_of)]}"
        titles.append(f"neuron {neuron}<br>{best}: {float(chosen.explained):.0%}")
    titles[0] = f"<b>{label}</b>: {titles[0]}"
    lowest, highest = float(dataset.activation.min()), float(dataset.activation.max())
    colors = figure.colors("activation", min(0.0, lowest), highest)
    axes = _axis("b", dataset), _axis("a", dataset)
    hover = f"{_pair(dataset)}<br>activation %{{z:.3g}}"
    for shown, panel in enumerate(_panels(figure, 130, width, titles, *axes)):
        at = _slice("activation", shown, "z")
        panel.heat(colors, run=label, at=at, hover=hover, **_grid(dataset))


def _draw_transforms(figure: Panels, dataset: xr.Dataset, label: str, width: int) -> None:
    """Draw the transform of each shown neuron's grid, by waves or representations of a and b."""
    top = np.log10(max(float(dataset.transform[-1].max()), 1e-30))
    decades = np.arange(np.ceil(top - _DECADES), top + 1e-9)
    ticks = {"tickvals": decades, "ticktext": [f"{10**decade:g}" for decade in decades]}
    colors = figure.colors("amplitude", top - _DECADES, top, scale="Greys", **ticks)
    bare: dict[str, Any] = {"type": "category", "showticklabels": False, "ticks": ""}
    if is_group := "representation" in dataset:
        names, title = np.asarray(part_labels(dataset).names), "ρ of a, ρ of b"
        # A blank title leaves space for the names.
        named = {"title": " ", "type": "category", "tickfont": {"size": 9}, "nticks": 8}
        axes = [bare | {"title": "ρ of b"}, named]
        places: dict[str, Any] = {"x": names, "y": names}
    else:
        title = "Fourier transform"
        axes = [{"title": f"frequency in {operand}"} for operand in ("b", "a")]
        places = {"x": dataset.j.to_numpy(), "y": dataset.i.to_numpy()}
    titles = [title] * dataset.sizes["shown"]
    hover = "(%{y}, %{x})<br>log₁₀ amplitude %{z:.2f}"

    def transform(now: xr.Dataset, shown: int) -> dict[str, Any]:
        return {"z": np.log10(now.transform[shown].clip(10 ** (top - _DECADES))).to_numpy()}

    for shown, panel in enumerate(_panels(figure, 85, width, titles, *axes, continues=True)):
        if shown and is_group:
            panel.y |= bare
        panel.heat(colors, run=label, at=partial(transform, shown=shown), hover=hover, **places)


def _draw_pushes(figure: Panels, dataset: xr.Dataset, label: str, width: int) -> None:
    """Draw the effect of each shown neuron on the logits, each on one scale for all steps."""
    titles = ["effect on logits"] * dataset.sizes["shown"]
    axes = _axis("answer", dataset), {"title": "logit per activation"}
    for shown, panel in enumerate(_panels(figure, 95, width, titles, *axes, continues=True)):
        top = 1.1 * float(np.abs(dataset.push[:, shown]).max())
        panel.y |= {"range": [-top, top]}
        panel.add(
            "scatter",
            run=label,
            at=_slice("push", shown, "y"),
            hover="answer %{customdata}<br>logit per activation %{y:.3g}",
            customdata=_names(dataset),
            mode="lines+markers",
            marker={"size": 3},
            line={"width": 1},
        )


def _draw_heads(figure: Panels, dataset: xr.Dataset, label: str, width: int) -> None:
    """Draw the attention of each head to the first operand over all pairs."""
    share = dataset.isel(step=-1).head_share.fillna(0).to_numpy()[:width]
    labels = part_labels(dataset)
    titles = []
    for head, shares in enumerate(share):
        best = f"{labels.symbol} = {labels.names[shares.argmax()]}"
        titles.append(f"head {head}, to token a<br>{best}: {shares.max():.0%}")
    colors = figure.colors("attention", 0, 1, scale=DIVERGING)
    axes = _axis("b", dataset), _axis("a", dataset)
    hover = f"{_pair(dataset)}<br>attention to a %{{z:.1%}}"
    for head, panel in enumerate(_panels(figure, 130, width, titles, *axes)):
        at = _slice("attention", head, "z", source="a")
        panel.heat(colors, run=label, at=at, hover=hover, **_grid(dataset))
