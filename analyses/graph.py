"""What kind of graph is the subnetwork? Spectra, path lengths and clustering of kept weights.

The edges are the weights that a run's mask keeps, or, in a dense run, the largest (1 − k) of each
checkpoint. Measured are each layer's spectral, weighted spectral and Ramanujan gap (Hoang et al.
2023), path length and four-cycle clustering of the neuron graph, and path length, clustering and
small-world index of the relational graph (You et al. 2020, arXiv 2007.06559), which Minegishi et
al. 2025 (arXiv 2310.19470v3, fig. 9 and 20) follow through grokking. Definitions with formulas are
in `analyses.measures.graphs`.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal, get_args

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr

from analyses.drawing import COLORS, SHARE, Panel, Panels, short_names, spread
from analyses.measures.curves import judged_curve
from analyses.measures.finite import and_left_out, finite_steps, left_out
from analyses.measures.graphs import (
    Bound,
    NeuronGraph,
    four_cycle_clustering,
    ramanujan_bound,
    relational_graph,
    relational_weights,
    small_world,
    top_singular_values,
)
from analyses.measures.masks import kept_edges
from mechgrok.errors import UserError
from mechgrok.masks import Mask, check_rate
from mechgrok.models import Wiring
from mechgrok.runs import Run

_DEFINITION = {
    "path_length": "mean of d(i, j) over pairs of units that a path of kept weights joins",
    "diameter": "largest d(i, j)",
    "components": "connected components, units without edges included",
    "isolated": "units without a kept weight",
    "connected": "share of the pairs of units that a path joins",
    "clustering": "4 C₄ / L₃: share of paths of three edges that are closed to a four-cycle",
    "random_path_length": "the same after shuffling each matrix's mask",
    "random_clustering": "the same after shuffling each matrix's mask",
    "relational_path_length": "mean distance in the relational graph, mean over partitions",
    "relational_clustering": "mean of 2 e_i / (k_i (k_i − 1)), mean over partitions",
    "random_relational_path_length": "the same in random graphs of the same density",
    "random_relational_clustering": "the same in random graphs of the same density",
    "small_world": "(C / C_random) / (L / L_random) of the relational graph, mean over partitions",
    "density": "share of the matrix that is kept",
    "spectral_gap": "λ₀ − λ₁, the two largest singular values of the mask",
    "weighted_spectral_gap": "λ₀ − λ₁ of |w| on the kept edges",
    "layer_clustering": "4 C₄ / L₃ of the layer by itself",
    "ramanujan_gap": "bound − λ₁ of the mask",
    "degree": "units that kept weights join to the unit",
    "edge_weight": "the strongest kept weights of each matrix, by |w|",
    "edge_source": "the unit that the weight reads; −1 where there are fewer edges",
    "edge_target": "the unit that it writes to; −1 where there are fewer edges",
}


#: Of the metrics that are more than one number per step.
_DIMS = {
    "density": ("step", "weight"),
    "spectral_gap": ("step", "weight"),
    "weighted_spectral_gap": ("step", "weight"),
    "layer_clustering": ("step", "weight"),
    "ramanujan_gap": ("step", "weight", "bound"),
    "degree": ("step", "unit"),
    "edge_weight": ("picture", "weight", "rank"),
    "edge_source": ("picture", "weight", "rank"),
    "edge_target": ("picture", "weight", "rank"),
}


@dataclass(frozen=True)
class _Relational:
    """How relational graphs are made: nodes, density, and shuffles of the units to average over."""

    nodes: int
    density: float
    partitions: int


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    rate: Annotated[float, "prune rate k of a dense run's magnitude masks"] = 0.6,
    scope: Annotated[Literal["global", "layer"], "one threshold, or one per weight"] = "global",
    nodes: Annotated[int, "nodes of the relational graph; the narrowest layer's at most"] = 32,
    density: Annotated[float, "share of node pairs that the relational graph joins"] = 0.2,
    partitions: Annotated[int, "random ways to put units into nodes; 0 takes them in order"] = 10,
    pictures: Annotated[int, "checkpoints at which the edges are kept for the picture"] = 12,
    strongest: Annotated[int, "edges of each weight in the picture"] = 250,
) -> xr.Dataset:
    """Metrics of the layers, the neuron graph and the relational graph, at every checkpoint.

    Returns:
        Over ``step``: ``path_length``, ``diameter``, ``components``, ``isolated``, ``connected``,
        ``clustering`` of the neuron graph, ``random_path_length`` and ``random_clustering`` of
        shuffled masks; ``relational_path_length``, ``relational_clustering``, the same of random
        graphs, ``small_world``; ``test_accuracy`` (or ``test_loss``, where the task is judged by
        it). Over ``[step, weight]``: ``density``, ``spectral_gap``, ``weighted_spectral_gap``,
        ``layer_clustering``; ``ramanujan_gap [step, weight, bound]``. Over ``[step, unit]``:
        ``degree``. Over ``[picture, weight, rank]``: ``edge_weight``, ``edge_source``,
        ``edge_target``. Each variable's definition is in its attributes.

    Raises:
        UserError: the rate is outside [0, 1), the density outside (0, 1], or there are fewer than
            two nodes.
    """
    check_rate(rate)
    if nodes < 2:
        raise UserError(f"A relational graph of {nodes} nodes has no edge: choose 2 or more.")
    asked = run.select(steps)
    steps = finite_steps(run, asked)
    wiring = run.wiring
    relational = _Relational(min(nodes, wiring.narrowest), density, partitions)
    pictured = set(spread(steps, pictures)) if pictures > 0 else set()

    def metrics(step: int) -> dict[str, Any]:
        saved = run.checkpoint(step)
        kept = kept_edges(saved, rate, scope)
        weights = {name: saved.weights[name] * kept[name] for name in wiring.joins}
        return {
            **_layers(kept, weights, wiring),
            **_neuron_graph(kept, wiring, step),
            **_relational_graph(weights, wiring, relational),
            **(_strongest_edges(weights, wiring, strongest) if step in pictured else {}),
        }

    # NumPy's and LAPACK's loops let other threads run: two checkpoints are measured at a time.
    with ThreadPoolExecutor() as pool:
        per_step = list(pool.map(metrics, steps))
    quantity, curve = judged_curve(run, steps)
    return xr.Dataset(
        {quantity: ("step", curve), **_variables(per_step)},
        coords={
            "step": steps,
            "weight": list(wiring.joins),
            "bound": list(get_args(Bound)),
            "unit": np.arange(wiring.n_units),
            "group": ("unit", wiring.group_of),
            **({"picture": sorted(pictured), "rank": np.arange(strongest)} if pictured else {}),
        },
        attrs={
            "edges": "the run's mask" if run.mask is not None else f"magnitude mask, k = {rate:g}",
            "nodes": relational.nodes,
            "relational_density": density,
            "partitions": partitions,
            "columns": [wiring.column[group] for group in wiring.groups],
            **left_out(asked, steps),
            **run.milestones,
        },
    )


def _variables(per_step: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Any, ...]]:
    """Every metric stacked over the steps that have it, with its dimensions and definition."""
    stacked = {
        name: np.stack([metrics[name] for metrics in per_step if name in metrics])
        for name in _DEFINITION
        if any(name in metrics for metrics in per_step)
    }
    return {
        name: (_DIMS.get(name, ("step",)), values, {"definition": _DEFINITION[name]})
        for name, values in stacked.items()
    }


def _layers(
    kept: Mask, weights: Mapping[str, torch.Tensor], wiring: Wiring
) -> dict[str, np.ndarray]:
    """What is measured on each matrix by itself, one value per matrix."""
    rows = []
    for name in wiring.joins:
        mask, weight = (wiring.matrix(name, part[name]) for part in (kept, weights))
        first, second = top_singular_values(mask)
        w_first, w_second = top_singular_values(weight.abs())
        bounds = [float(ramanujan_bound(mask, bound) - second) for bound in get_args(Bound)]
        rows.append(
            [
                float(mask.double().mean()),
                float(first - second),
                float(w_first - w_second),
                float(four_cycle_clustering(mask)),
                *bounds,
            ]
        )
    table = np.array(rows)
    names = ("density", "spectral_gap", "weighted_spectral_gap", "layer_clustering")
    return {**dict(zip(names, table.T, strict=False)), "ramanujan_gap": table[:, len(names) :]}


def _neuron_graph(kept: Mask, wiring: Wiring, step: int) -> dict[str, Any]:
    """Metrics of the neuron graph, and of one whose masks are shuffled."""
    graph, shuffled = NeuronGraph(kept, wiring), NeuronGraph(kept.shuffled(step), wiring)
    return {
        "path_length": graph.average_path_length,
        "diameter": graph.diameter,
        "components": graph.n_components,
        "isolated": int((graph.degrees == 0).sum()),
        "connected": graph.connected_share,
        "clustering": graph.clustering,
        "random_path_length": shuffled.average_path_length,
        "random_clustering": shuffled.clustering,
        "degree": graph.degrees,
    }


def _relational_graph(
    weights: Mapping[str, torch.Tensor], wiring: Wiring, how: _Relational
) -> dict[str, float]:
    """L, C and small-world index, averaged over random ways of putting units into nodes.

    NaN where a layer has one unit, which makes no two nodes.
    """
    if how.nodes < 2:
        return dict.fromkeys(_RELATIONAL, float("nan"))
    seeds: Sequence[int | None] = range(how.partitions) if how.partitions else [None]
    worlds = [
        small_world(
            relational_graph(relational_weights(weights, how.nodes, wiring, seed), how.density)
        )
        for seed in seeds
    ]
    means = [
        *np.mean(np.array(worlds), axis=0),
        np.mean([world.small_world_index for world in worlds]),
    ]
    return dict(zip(_RELATIONAL, map(float, means), strict=True))


#: In the order of the fields of `SmallWorld`, and its index.
_RELATIONAL = (
    "relational_path_length",
    "relational_clustering",
    "random_relational_path_length",
    "random_relational_clustering",
    "small_world",
)


def _strongest_edges(
    weights: Mapping[str, torch.Tensor], wiring: Wiring, count: int
) -> dict[str, np.ndarray]:
    """The ``count`` kept weights of each matrix that are largest, with the units they join."""
    value = np.zeros((len(wiring.joins), count), dtype=np.float32)
    source = np.full(value.shape, -1, dtype=np.int32)
    target = source.copy()
    for row, name in enumerate(wiring.joins):
        matrix = wiring.matrix(name, weights[name])
        rows, columns = wiring.ends(name)
        flat = matrix.flatten()
        top = flat.abs().topk(min(count, int(flat.count_nonzero()))).indices
        value[row, : len(top)] = flat[top]
        source[row, : len(top)] = top // matrix.shape[1] + rows.start
        target[row, : len(top)] = top % matrix.shape[1] + columns.start
    return {"edge_weight": value, "edge_source": source, "edge_target": target}


def finding(dataset: xr.Dataset) -> str:
    """Path length and clustering of both graphs, at the start and at the end."""
    first, last = dataset.isel(step=0), dataset.isel(step=-1)

    def ends(name: str) -> str:
        if not np.isfinite([first[name], last[name]]).all():
            return "undefined"
        return f"{float(first[name]):.2f} → {float(last[name]):.2f}"

    def random(name: str) -> str:
        value = float(last[f"random_{name}"])
        return f" (random {value:.2f})" if np.isfinite(value) else ""

    edges = not np.isnan(last.path_length)
    neurons = (
        f"neuron graph L {ends('path_length')}{random('path_length')}, four-cycle clustering "
        f"{ends('clustering')}{random('clustering')}, {int(last.isolated)} units without edges"
        if edges
        else "no weight is kept, the graph has no edges"
    )
    relational = (
        f"relational graph of {dataset.nodes} nodes L {ends('relational_path_length')}, C "
        f"{ends('relational_clustering')}, small-world index {ends('small_world')}"
        if dataset.nodes > 1
        else "no relational graph, a layer has one unit"
    )
    steps = f"from step {int(first.step):,} to {int(last.step):,}"
    return and_left_out(f"{steps}: {neurons}; {relational}", dataset)


# --- the figure ---------------------------------------------------------------------------------

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
_GAPS = (
    ("spectral_gap", "spectral gap λ₀ − λ₁"),
    ("weighted_spectral_gap", "weighted spectral gap"),
    ("ramanujan_gap", "Ramanujan gap"),
)
#: Networks beside one another, and a figure's runs at most.
_ACROSS, _MOST = 3, 6


def draw(
    measured: Mapping[str, xr.Dataset],
    *,
    bound: Annotated[Bound, "bound of the Ramanujan gap"] = "biregular",
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
    for name, title in _GAPS:
        of = f" ({bound} bound)" if name == "ramanujan_gap" else ""
        panel = row.over_training(title + of, y="gap" if name == "spectral_gap" else "")
        _layer_curves(panel, measured, name, bound)
        if name == "ramanujan_gap":
            panel.level(0, dash="solid")
    pictured = [label for label, dataset in measured.items() if "edge_weight" in dataset]
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
    return (
        f"edges: {kinds}; relational graph: {first.nodes} nodes, "
        f"{first.relational_density:.0%} of pairs"
    )


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
            look = _distinct(at) | {"entry": layer} if alone else {"opacity": 0.35}
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
        "range": [-0.25, last + 0.25] if shared else [-0.05 * last, 1.05 * last],
        "showgrid": False,
    }
