"""The figure of graphs: their metrics over training, and below, the networks themselves."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from mechgrok.analyses.drawing import COLORS, SHARE, Panel, Panels, representatives
from mechgrok.analyses.measures.graphs import Bound
from mechgrok.errors import UserError
from mechgrok.models.wiring import short_names

#: Panels over training: variable, its random counterpart, title, axis title.
_PANELS: tuple[tuple[str, str | None, str, str], ...] = (
    ("path_length", "random_path_length", "neuron graph: path length", "L (edges)"),
    ("clustering", "random_clustering", "neuron graph: four-cycle clustering", "4 C₄ / L₃"),
    (
        "relational_path_length",
        "random_relational_path_length",
        "relational graph: path length",
        "L (edges)",
    ),
    (
        "relational_clustering",
        "random_relational_clustering",
        "relational graph: clustering",
        "C",
    ),
    ("small_world", None, "relational graph: small world", "σ"),
)
#: The gaps over training; the signs of the weights count or not.
_GAPS = {
    "spectral_gap": "spectral gap λ₀ − λ₁",
    "weighted_spectral_gap": "weighted spectral gap, |w|",
    "signed_spectral_gap": "weighted spectral gap, signed",
    "ramanujan_gap": "Ramanujan gap",
}
#: Networks beside one another, and a figure's runs at most.
_ACROSS, _MOST = 3, 6


def draw(
    measured: Mapping[str, xr.Dataset],
    *,
    bound: Annotated[Bound, "bound of the Ramanujan gap"] = "biregular",
    signed: Annotated[bool, "the weighted spectral gap of the weights with their signs"] = False,
    log: Annotated[bool, "logarithmic step axis"] = True,
) -> go.Figure:
    """Metrics over training in nine panels; below, the network and its degrees with a slider."""
    if len(measured) > _MOST:
        raise UserError(
            f"{len(measured)} graphs do not fit into one figure: give at most {_MOST} runs."
        )
    figure = Panels(
        measured, title=_title(measured), subtitle=_subtitle(measured), log=log, along="picture"
    )
    accuracy = "test_accuracy" in next(iter(measured.values()))
    judged = "accuracy" if accuracy else "loss"
    panels = [(f"test_{judged}", None, f"test {judged}", judged), *_PANELS]
    for first in (0, 3):
        row = figure.row(height=170)
        for name, reference, title, axis in panels[first : first + 3]:
            y: dict[str, Any] = {"title": axis}
            if axis == judged:
                y |= SHARE if accuracy else {"type": "log"}
            panel = row.over_training(title, y=y)
            _curves(panel, measured, name, reference)
    row = figure.row(height=170, legend=len(measured) == 1)
    for name in (
        "spectral_gap",
        f"{'signed' if signed else 'weighted'}_spectral_gap",
        "ramanujan_gap",
    ):
        title = _GAPS[name]
        of = f" ({bound} bound)" if name == "ramanujan_gap" else ""
        panel = row.over_training(title + of, y="gap" if name == "spectral_gap" else "")
        _layer_curves(panel, measured, name, bound)
        if name == "ramanujan_gap":
            panel.level(0, dash="solid")
    shown = representatives(measured)
    pictured = [label for label, dataset in shown.items() if "edge_weight" in dataset]
    for first in range(0, len(pictured), _ACROSS):
        _pictures(figure, {label: measured[label] for label in pictured[first : first + _ACROSS]})
    return figure.draw()


def _title(measured: Mapping[str, xr.Dataset]) -> str:
    """What path length and clustering did, where they did so in every run.

    After memorization, where every run has memorized; else over all of training.
    """
    memorized = all("t_mem" in dataset.attrs for dataset in measured.values())
    since = "after memorization" if memorized else "over training"
    words = []
    for name, what in (
        ("relational_path_length", "paths"),
        ("relational_clustering", "clustering"),
    ):
        changes = [_change(ds, name, since_t_mem=memorized) for ds in measured.values()]
        if all(change > 0.02 for change in changes):
            words.append(f"{what} {'lengthen' if what == 'paths' else 'rises'}")
        elif all(change < -0.02 for change in changes):
            words.append(f"{what} {'shorten' if what == 'paths' else 'falls'}")
    return (
        f"In the relational graph of the kept weights {' and '.join(words)} {since}"
        if words
        else "The kept weights as a graph, over training"
    )


def _change(dataset: xr.Dataset, name: str, *, since_t_mem: bool) -> float:
    """From t_mem, or from the first step, to the last."""
    curve = dataset[name]
    if since_t_mem:
        curve = curve[dataset.step >= dataset.attrs["t_mem"]]
    return float(curve[-1] - curve[0]) if curve.size else 0.0


def _subtitle(measured: Mapping[str, xr.Dataset]) -> str:
    first = next(iter(measured.values()))
    kinds = "; ".join(f"{label}: {dataset.edges}" for label, dataset in measured.items())
    return f"edges: {kinds}; relational graph: {first.nodes} nodes, {first.relational}"


def _curves(
    panel: Panel, measured: Mapping[str, xr.Dataset], name: str, reference: str | None
) -> None:
    """One quantity of every run over training, with that of random graphs dotted."""
    for label, dataset in measured.items():
        panel.lines(dataset.step, dataset[name], run=label)
        if reference is not None:
            panel.lines(
                dataset.step,
                dataset[reference],
                run=label,
                key="random graphs of the same density",
                dash="dot",
                width=1.3,
            )


def _layer_curves(
    panel: Panel, measured: Mapping[str, xr.Dataset], name: str, bound: Bound
) -> None:
    """A gap of every layer, thin, and the mean over layers, thick; one run's layers in colours."""
    alone = len(measured) == 1
    for label, dataset in measured.items():
        values = dataset[name].sel(bound=bound) if name == "ramanujan_gap" else dataset[name]
        short = short_names([str(weight) for weight in dataset.weight.to_numpy()])
        for at, (weight, layer) in enumerate(short.items()):
            look: dict[str, Any] = _distinct(at) | {"entry": layer} if alone else {"opacity": 0.35}
            curve = values.sel(weight=weight)
            value = f"{layer} %{{y:.4g}}"
            panel.lines(dataset.step, curve, run=label, mode="lines", width=1, value=value, **look)
        value = "mean of layers %{y:.4g}"
        panel.lines(dataset.step, values.mean("weight"), run=label, value=value, width=2.5)


def _distinct(at: int) -> dict[str, Any]:
    """The look of the nth layer or group of units: not in the first run's colour."""
    palette = COLORS[1:]
    return {"color": palette[at % len(palette)], "dash": "solid" if at < len(palette) else "dash"}


def _pictures(figure: Panels, pictured: Mapping[str, xr.Dataset]) -> None:
    """The networks of some runs beside one another, and under each its degrees."""
    networks, degrees = figure.row(height=400), figure.row(height=130, legend=True)
    for label, dataset in pictured.items():
        title = f"{label}: strongest kept weights (blue +, orange −)"
        panel = networks.panel(title, x=_group_axis(dataset), y={"visible": False})
        _network(panel, label, dataset)
        share = {"title": "share" if not degrees.panels else "", "tickformat": ".0%"}
        panel = degrees.panel(f"{label}: degrees", x="degree of a unit", y=share)
        for at, group in enumerate(_groups(dataset)):
            look = _distinct(at)
            panel.add(
                "scatter",
                run=label,
                at=partial(_degrees, group=group),
                hover=f"{group}<br>degree %{{x:.0f}}<br>%{{y:.1%}} of the group",
                entry=group,
                color=look["color"],
                mode="lines",
                line={"shape": "hvh", "width": 1.8, "dash": look["dash"]},
            )
    networks.fill(min(_ACROSS, len(pictured)))


def _groups(dataset: xr.Dataset) -> list[str]:
    return list(dict.fromkeys(dataset.group.to_numpy().tolist()))


def _positions(dataset: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Where each unit stands: its group's column, and evenly from top to bottom within it."""
    groups = list(dict.fromkeys(dataset.group.to_numpy().tolist()))
    column_of = dict(zip(groups, dataset.attrs["columns"], strict=True))
    group = dataset.group.to_numpy()
    x = np.array([column_of[each] for each in group], dtype=float)
    y = np.zeros(len(group))
    for column in set(column_of.values()):
        members = [each for each in groups if column_of[each] == column]
        # Groups that share a column share its height, however many units each has.
        for at, each in enumerate(members):
            units = np.flatnonzero(group == each)
            top, height = 1 - at / len(members), 0.94 / len(members)
            y[units] = top - height * (np.arange(len(units)) + 0.5) / len(units)
    return x, y


def _network(panel: Panel, label: str, dataset: xr.Dataset) -> None:
    """Edges by sign and strength, and units, of which those without edges are crosses."""
    x, y = _positions(dataset)
    for positive, color in ((True, COLORS[0]), (False, COLORS[1])):
        for strong, opacity, width in ((False, 0.25, 0.6), (True, 0.7, 1.0)):
            edges = partial(_edges, x=x, y=y, positive=positive, strong=strong)
            line = {"color": color, "width": width}
            panel.add("scatter", run=label, at=edges, mode="lines", line=line, opacity=opacity)
    for joined, marker in (
        (True, {"color": "#222222", "size": 4}),
        (False, {"color": "#E69F00", "size": 6, "symbol": "x"}),
    ):
        units = partial(_units, x=x, y=y, joined=joined)
        panel.add("scatter", run=label, at=units, hover="%{text}", mode="markers", marker=marker)
    for name, (text_x, text_y, side) in _names_beside(dataset, x, y).items():
        panel.add(
            "scatter",
            x=[text_x],
            y=[text_y],
            text=[f"  {name}  "],
            mode="text",
            textposition=f"middle {side}",
            cliponaxis=False,
        )


def _edges(
    now: xr.Dataset, x: np.ndarray, y: np.ndarray, positive: bool, strong: bool
) -> dict[str, Any]:
    """Broken lines of the edges of a sign, among the strongest fifth of their matrix or not."""
    weight = now.edge_weight.to_numpy()
    rank = np.broadcast_to(np.arange(weight.shape[1]), weight.shape)
    of_sign = weight > 0 if positive else weight < 0
    chosen = of_sign & ((rank < weight.shape[1] // 5) == strong)
    source, target = (now[name].to_numpy()[chosen] for name in ("edge_source", "edge_target"))
    gap = np.full(len(source), np.nan)
    ends = (np.stack([each[source], each[target], gap], 1).ravel() for each in (x, y))
    return dict(zip("xy", (each.astype(np.float32) for each in ends), strict=True))


def _degree(now: xr.Dataset) -> np.ndarray:
    """Degrees of the units at the picture's step."""
    return now.degree.sel(step=int(now.picture)).to_numpy()


def _units(now: xr.Dataset, x: np.ndarray, y: np.ndarray, joined: bool) -> dict[str, Any]:
    degree, group = _degree(now), now.group.to_numpy()
    first = {name: int(np.argmax(group == name)) for name in set(group.tolist())}
    units = np.flatnonzero((degree > 0) == joined)
    text = [
        f"{group[unit]}, unit {unit - first[group[unit]]}<br>degree {degree[unit]}"
        for unit in units
    ]
    return {"x": x[units], "y": y[units], "text": text}


def _degrees(now: xr.Dataset, group: str) -> dict[str, Any]:
    """The distribution of a group's degrees, in bins that are the same at every step."""
    edges = np.linspace(0, float(now.degree.max()) + 1, 41)
    count, _ = np.histogram(_degree(now)[now.group.to_numpy() == group], edges)
    return {"x": (edges[1:] + edges[:-1]) / 2, "y": count / count.sum()}


def _columns(dataset: xr.Dataset) -> tuple[dict[str, float], set[float]]:
    """Each group's column, and the columns that several groups share."""
    at = dict(zip(_groups(dataset), dataset.attrs["columns"], strict=True))
    return at, {place for place in at.values() if list(at.values()).count(place) > 1}


def _names_beside(
    dataset: xr.Dataset, x: np.ndarray, y: np.ndarray
) -> dict[str, tuple[float, float, str]]:
    """Where the names stand of groups that share a column, and on which side of it."""
    at, shared = _columns(dataset)
    last, group = max(at.values()), dataset.group.to_numpy()
    return {
        name: (
            float(x[group == name][0]),
            float(y[group == name].mean()),
            "left" if place < last else "right",
        )
        for name, place in at.items()
        if place in shared
    }


def _group_axis(dataset: xr.Dataset) -> dict[str, Any]:
    """Under each column the name of the group that fills it."""
    at, shared = _columns(dataset)
    last = max(at.values())
    return {
        "tickvals": [place for place in at.values() if place not in shared],
        "ticktext": [name for name, place in at.items() if place not in shared],
        "range": [-0.125 * last, 1.125 * last] if shared else [-0.05 * last, 1.05 * last],
        "showgrid": False,
    }
