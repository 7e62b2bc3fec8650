"""The graph figure: metrics over training, and pictures of the networks."""

from collections import Counter
from functools import partial
from typing import Annotated, Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from jaxtyping import Float, Integer

from mechgrok.analyses.drawing import COLORS, SHARE, LogAxis, Measured, Panel, Panels
from mechgrok.analyses.measures.graphs import Bound
from mechgrok.errors import UserError
from mechgrok.models.wiring import short_names

#: Panels over training: variable, random counterpart, title, axis title.
_PANELS: tuple[tuple[str, str | None, str, str], ...] = (
    ("path_length", "random_path_length", "neuron graph: path length", "L (edges)"),
    ("clustering", "random_clustering", "neuron graph: four-cycle clustering", "4 C₄ / L₃"),
    (
        "relational_path_length",
        "random_relational_path_length",
        "relational graph: path length",
        "L (edges)",
    ),
    ("relational_clustering", "random_relational_clustering", "relational graph: clustering", "C"),
    ("small_world", None, "relational graph: small world", "σ"),
)
#: The gaps over training.
_GAPS = {
    "spectral_gap": "spectral gap λ₀ − λ₁",
    "weighted_spectral_gap": "weighted spectral gap, |w|",
    "signed_spectral_gap": "weighted spectral gap, signed",
    "ramanujan_gap": "Ramanujan gap",
}
#: Networks in a row, and the most runs in a figure.
_ACROSS, _MOST = 3, 6
#: The sweeps that order the units of a picture.
_SWEEPS = 12


def draw(
    measured: Measured,
    *,
    bound: Annotated[Bound, "bound of the Ramanujan gap"] = "biregular",
    signed: Annotated[bool, "show the weighted spectral gap of signed weights"] = False,
    log: LogAxis = True,
) -> go.Figure:
    """Metrics over training in nine panels, and the network and its degrees with a slider."""
    if len(measured) > _MOST:
        raise UserError(
            f"{len(measured)} graphs do not fit into one figure: give at most {_MOST} runs."
        )
    first, edges = next(iter(measured.values())), {ds.edges for ds in measured.values()}
    figure = Panels(
        measured,
        title="The graph of unpruned weights over training",
        subtitle=f"edges: {', '.join(sorted(edges))}; relational graph: {first.nodes} nodes, "
        f"{first.relational}; dotted: random graphs of the same density",
        log=log,
        along="picture",
    )
    _draw_metrics(figure, first)
    _draw_gaps(figure, bound, signed)
    shown = {label: ds for label, ds in figure.pictured.items() if "edge_weight" in ds}
    for start in range(0, len(shown), _ACROSS):
        _draw_pictures(figure, list(shown)[start : start + _ACROSS])
    return figure.draw()


def _draw_metrics(figure: Panels, first: xr.Dataset) -> None:
    """Draw the test curve and the metrics of both graphs, random graphs dotted."""
    is_share = "test_accuracy" in first
    judged = "accuracy" if is_share else "loss"
    curve = (f"test_{judged}", None, f"test {judged}", judged)
    for at, (name, reference, title, axis) in enumerate((curve, *_PANELS)):
        if at % 3 == 0:
            row = figure.row(height=170)
        scale: dict[str, Any] = SHARE if is_share else {"type": "log"}
        panel = row.over_training(title, y={"title": axis, **(scale if at == 0 else {})})
        panel.curves(name)
        if reference is not None:
            panel.curves(reference, key="random graphs", dash="dot", width=1.3)


def _draw_gaps(figure: Panels, bound: Bound, signed: bool) -> None:
    """Draw the gaps of every layer, thin, and their mean, thick; one run's layers in colours."""
    row = figure.row(height=170, legend=len(figure.measured) == 1)
    weighted = f"{'signed' if signed else 'weighted'}_spectral_gap"
    for name in ("spectral_gap", weighted, "ramanujan_gap"):
        is_ramanujan = name == "ramanujan_gap"
        title = _GAPS[name] + (f" ({bound} bound)" if is_ramanujan else "")
        panel = row.over_training(title, y="gap" if name == "spectral_gap" else "")
        for label, dataset in figure.measured.items():
            values = dataset[name].sel(bound=bound) if is_ramanujan else dataset[name]
            _draw_layers(panel, label, values)
        if is_ramanujan:
            panel.level(0, dash="solid")


def _draw_layers(panel: Panel, label: str, values: xr.DataArray) -> None:
    """Draw a gap of every layer of a run, and the mean over layers."""
    is_alone, step = len(panel.figure.measured) == 1, values.step
    short = short_names([str(weight) for weight in values.weight.to_numpy()])
    for at, (weight, layer) in enumerate(short.items()):
        style: dict[str, Any] = {"opacity": 0.35}
        if is_alone:
            style = _distinct(at) | {"entry": layer}
        style |= {"mode": "lines", "width": 1, "value": f"{layer} %{{y:.4g}}"}
        panel.lines(step, values.sel(weight=weight), run=label, **style)
    mean = "mean of layers %{y:.4g}"
    panel.lines(step, values.mean("weight"), run=label, value=mean, width=2.5)


def _distinct(at: int) -> dict[str, Any]:
    """The style of the nth layer or group of units, without the first run's colour."""
    palette = COLORS[1:]
    return {"color": palette[at % len(palette)], "dash": "solid" if at < len(palette) else "dash"}


def _draw_pictures(figure: Panels, labels: list[str]) -> None:
    """Draw the networks of the given runs side by side, with their degrees below."""
    networks, degrees = figure.row(height=400), figure.row(height=130, legend=True)
    for label in labels:
        dataset = figure.measured[label]
        title = f"{label}: strongest weights (blue +, orange −)"
        panel = networks.panel(title, x=_group_axis(dataset), y={"visible": False})
        _draw_network(panel, label, dataset)
        share = {"title": "" if degrees.panels else "share", "tickformat": ".0%"}
        panel = degrees.panel(f"{label}: degrees", x="degree of a unit", y=share)
        for at, group in enumerate(_groups(dataset)):
            style = _distinct(at)
            panel.add(
                "scatter",
                run=label,
                at=partial(_degrees, group=group),
                hover=f"{group}<br>degree %{{x:.0f}}<br>%{{y:.1%}} of the group",
                entry=group,
                color=style["color"],
                mode="lines",
                line={"shape": "hvh", "width": 1.8, "dash": style["dash"]},
            )
    networks.fill(min(_ACROSS, len(labels)))


def _groups(dataset: xr.Dataset) -> list[str]:
    return list(dict.fromkeys(dataset.group.to_numpy().tolist()))


def _columns(dataset: xr.Dataset) -> dict[str, float]:
    """The column of each group."""
    return dict(zip(_groups(dataset), dataset.attrs["columns"], strict=True))


def _shared_columns(dataset: xr.Dataset) -> set[float]:
    """The columns that contain several groups."""
    return {column for column, n in Counter(_columns(dataset).values()).items() if n > 1}


def _order(dataset: xr.Dataset) -> Float[np.ndarray, " unit"]:
    """Ranks of the units that lay joined units side by side.

    Each unit moves to the mean rank of the units that its strongest edges join, weighted by |w|, as
    in the barycentre method for layered graphs (Sugiyama et al. 1981); inputs and outputs stay.
    """
    last, group = dataset.isel(picture=-1), dataset.group.to_numpy()
    weight = np.abs(last.edge_weight.to_numpy())
    drawn = weight > 0
    source, target = (last[name].to_numpy()[drawn] for name in ("edge_source", "edge_target"))
    ends, others = np.concatenate([source, target]), np.concatenate([target, source])
    strength = np.tile(weight[drawn], 2)
    members = [np.flatnonzero(group == name) for name in _groups(dataset)]
    rank = np.zeros(len(group))
    for units in members:
        rank[units] = _evenly(len(units))
    for _ in range(_SWEEPS):
        for units in members[1:-1]:
            total = np.bincount(ends, strength * rank[others], len(group))
            joined = np.bincount(ends, strength, len(group))
            mean = np.divide(total, joined, out=rank.copy(), where=joined > 0)
            rank[units[np.argsort(mean[units], kind="stable")]] = _evenly(len(units))
    return rank


def _positions(
    dataset: xr.Dataset,
) -> tuple[Float[np.ndarray, " unit"], Float[np.ndarray, " unit"]]:
    """The position of each unit: its group's column, and evenly spaced in the order of `_order`."""
    column_of, group, rank = _columns(dataset), dataset.group.to_numpy(), _order(dataset)
    x = np.array([column_of[name] for name in group], dtype=float)
    y = np.zeros(len(group))
    for column in set(column_of.values()):
        members = [name for name in column_of if column_of[name] == column]
        # Groups in the same column get equal heights.
        for at, name in enumerate(members):
            units = np.flatnonzero(group == name)
            top, height = 1 - at / len(members), 0.94 / len(members)
            y[units] = top - height * rank[units]
    return x, y


def _draw_network(panel: Panel, label: str, dataset: xr.Dataset) -> None:
    """Draw the strongest edges by sign, and units, with crosses for units without edges."""
    x, y = _positions(dataset)
    for positive, color in ((True, COLORS[0]), (False, COLORS[1])):
        edges = partial(_edges, x=x, y=y, positive=positive)
        line = {"color": color, "width": 0.8}
        panel.add("scatter", run=label, at=edges, mode="lines", line=line, opacity=0.6)
    for joined, marker in (
        (True, {"color": "#222222", "size": 4}),
        (False, {"color": "#E69F00", "size": 6, "symbol": "x"}),
    ):
        units = partial(_units, x=x, y=y, joined=joined)
        panel.add("scatter", run=label, at=units, hover="%{text}", mode="markers", marker=marker)
    for name, (text_x, text_y, side) in _names_above(dataset, x, y).items():
        panel.add(
            "scatter",
            x=[text_x],
            y=[text_y],
            text=[name],
            mode="text",
            textposition=f"top {side}",
            cliponaxis=False,
        )


def _evenly(n: int) -> Float[np.ndarray, " n"]:
    """The middles of n equal parts of the interval from 0 to 1."""
    return (np.arange(n) + 0.5) / n


def _edges(now: xr.Dataset, x: np.ndarray, y: np.ndarray, positive: bool) -> dict[str, Any]:
    """Broken lines for the strongest edges of one sign."""
    weight = now.edge_weight.to_numpy()
    chosen = weight > 0 if positive else weight < 0
    source, target = (now[name].to_numpy()[chosen] for name in ("edge_source", "edge_target"))
    gap = np.full(len(source), np.nan)
    ends = (np.stack([axis[source], axis[target], gap], 1).ravel() for axis in (x, y))
    return dict(zip("xy", (line.astype(np.float32) for line in ends), strict=True))


def _degree(now: xr.Dataset) -> Integer[np.ndarray, " unit"]:
    """The degrees of the units at the picture's step."""
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
    """The distribution of a group's degrees, with the same bins at every step."""
    edges = np.linspace(0, float(now.degree.max()) + 1, 41)
    count, _ = np.histogram(_degree(now)[now.group.to_numpy() == group], edges)
    return {"x": (edges[1:] + edges[:-1]) / 2, "y": count / count.sum()}


def _names_above(
    dataset: xr.Dataset, x: Float[np.ndarray, " unit"], y: Float[np.ndarray, " unit"]
) -> dict[str, tuple[float, float, str]]:
    """Position and side of the names of groups that share a column: above their units."""
    columns, shared = _columns(dataset), _shared_columns(dataset)
    last, group = max(columns.values()), dataset.group.to_numpy()
    return {
        name: (
            float(x[group == name][0]),
            float(y[group == name].max()),
            "left" if column == last else "center" if column else "right",
        )
        for name, column in columns.items()
        if column in shared
    }


def _group_axis(dataset: xr.Dataset) -> dict[str, Any]:
    """The axis with the name of each column's group."""
    columns, shared = _columns(dataset), _shared_columns(dataset)
    last, margin = max(columns.values()), 0.05
    alone = {name: column for name, column in columns.items() if column not in shared}
    return {
        "tickvals": list(alone.values()),
        "ticktext": list(alone),
        "range": [-margin * last, (1 + margin) * last],
        "showgrid": False,
    }
