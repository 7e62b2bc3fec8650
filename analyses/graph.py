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
from typing import Annotated, Any, Literal, get_args

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from plotly.subplots import make_subplots

from analyses.drawing import (
    COLORS,
    TEMPLATE,
    mark_learning,
    run_colors,
    short_names,
    spread,
    step_axis,
    with_slider,
)
from analyses.measures.curves import judged_curve
from analyses.measures.finite import and_left_out, finite_steps, left_out
from analyses.measures.graphs import (
    Bound,
    NeuronGraph,
    Wiring,
    as_matrix,
    four_cycle_clustering,
    narrowest_group,
    ramanujan_bound,
    relational_graph,
    relational_weights,
    small_world,
    top_singular_values,
)
from analyses.measures.masks import kept_edges
from mechgrok.errors import UserError
from mechgrok.masks import Mask, check_rate
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
    wiring = Wiring.of(run.checkpoint(steps[0]).weights)
    relational = _Relational(min(nodes, narrowest_group(wiring)), density, partitions)
    pictured = set(spread(steps, pictures)) if pictures > 0 else set()

    def at(step: int) -> dict[str, Any]:
        saved = run.checkpoint(step)
        kept = kept_edges(saved, rate, scope)
        weights = {name: saved.weights[name] * kept[name] for name in wiring.joins}
        found = {
            **_layers(kept, weights, wiring),
            **_neuron_graph(kept, wiring, step),
            **_relational_graph(weights, wiring, relational),
        }
        if step in pictured:
            found |= _strongest_edges(weights, wiring, strongest)
        return found

    # NumPy's and LAPACK's loops let other threads run: two checkpoints are measured at a time.
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(at, steps))
    quantity, curve = judged_curve(run, steps)
    dims = {
        "density": ("step", "weight"),
        "spectral_gap": ("step", "weight"),
        "weighted_spectral_gap": ("step", "weight"),
        "layer_clustering": ("step", "weight"),
        "ramanujan_gap": ("step", "weight", "bound"),
        "degree": ("step", "unit"),
    }
    edges = [name for name in _DEFINITION if name.startswith("edge_") and pictured]
    return xr.Dataset(
        {
            quantity: ("step", curve),
            **{
                name: (
                    ("picture", "weight", "rank") if name in edges else dims.get(name, ("step",)),
                    np.stack([each[name] for each in found if name in each]),
                    {"definition": _DEFINITION[name]},
                )
                for name in _DEFINITION
                if not name.startswith("edge_") or name in edges
            },
        },
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


def _layers(
    kept: Mask, weights: Mapping[str, torch.Tensor], wiring: Wiring
) -> dict[str, np.ndarray]:
    """What is measured on each matrix by itself, one value per matrix."""
    rows = []
    for name in wiring.joins:
        mask, weight = as_matrix(name, kept[name]), as_matrix(name, weights[name])
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
    found = [
        small_world(
            relational_graph(relational_weights(weights, how.nodes, wiring, seed), how.density)
        )
        for seed in seeds
    ]
    means = [*np.mean(np.array(found), axis=0), np.mean([each.small_world_index for each in found])]
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
    for row, (name, (reads, writes)) in enumerate(wiring.joins.items()):
        matrix = as_matrix(name, weights[name])
        flat = matrix.flatten()
        top = flat.abs().topk(min(count, int(flat.count_nonzero()))).indices
        value[row, : len(top)] = flat[top]
        source[row, : len(top)] = top // matrix.shape[1] + wiring.start[reads]
        target[row, : len(top)] = top % matrix.shape[1] + wiring.start[writes]
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


def draw(
    measured: Mapping[str, xr.Dataset],
    *,
    bound: Annotated[Bound, "bound of the Ramanujan gap"] = "biregular",
    log: Annotated[bool, "logarithmic step axis"] = False,
) -> go.Figure:
    """Metrics over training in nine panels; below, the network and its degrees with a slider."""
    colors = run_colors(measured)
    n_runs = len(measured)
    pictured = {label: ds for label, ds in measured.items() if "edge_weight" in ds}
    if n_runs > 6:
        raise UserError(f"{n_runs} graphs do not fit into one figure: give at most 6 runs.")
    quantity = "test_accuracy" if "test_accuracy" in next(iter(measured.values())) else "test_loss"
    wide = 12 // max(1, n_runs)
    specs: list[list[dict[str, Any] | None]] = [[{"colspan": 4}, None, None, None] * 3] * 3
    titles = [quantity.replace("_", " "), *(title for _, _, title, _ in _PANELS)]
    titles += [
        title if name != "ramanujan_gap" else f"{title} ({bound} bound)" for name, title in _GAPS
    ]
    if pictured:
        across = [{"colspan": wide}, *[None] * (wide - 1)] * n_runs
        specs += [[*across, *[None] * (12 - len(across))]] * 2
        titles += [
            f"{label}: strongest kept weights (blue +, orange −)" if label in pictured else ""
            for label in measured
        ]
        titles += [f"{label}: degrees" if label in pictured else "" for label in measured]
    figure = make_subplots(
        len(specs),
        12,
        specs=specs,
        subplot_titles=titles,
        row_heights=[1, 1, 1, *([2.6, 0.9] if pictured else [])],
        vertical_spacing=0.055 if pictured else 0.1,
        horizontal_spacing=0.065,
    )
    places = {label: 1 + wide * at for at, label in enumerate(measured)}
    stops = sorted({int(step) for ds in pictured.values() for step in ds.picture})
    if pictured:
        _add_pictures(figure, pictured, places, stops[-1])
    for at, (name, reference, _, axis) in enumerate(
        ((quantity, None, "", quantity.replace("_", " ")), *_PANELS)
    ):
        where = {"row": 1 + at // 3, "col": 1 + 4 * (at % 3)}
        _add_curves(figure, measured, colors, name, reference, where)
        figure.update_yaxes(title=axis, **where)
    figure.update_yaxes(
        **({"tickformat": ".0%"} if quantity == "test_accuracy" else {"type": "log"}), row=1, col=1
    )
    for at, (name, _) in enumerate(_GAPS):
        where = {"row": 3, "col": 1 + 4 * at}
        _add_layers(figure, measured, colors, name, bound, where)
        figure.update_yaxes(title="gap", **where)
        if name == "ramanujan_gap":
            figure.add_hline(y=0, line={"color": "#777", "width": 1}, **where)
    for row in (1, 2, 3):
        for column in (1, 5, 9):
            step_axis(figure, log=log, row=row, col=column)
            mark_learning(figure, measured, colors, row=row, col=column)
    for row in (1, 2):
        figure.update_xaxes(title=None, row=row)
    figure.update_xaxes(title_standoff=6)
    figure.update_yaxes(title_standoff=4)
    figure.update_annotations(font_size=14)
    figure.update_layout(
        template=TEMPLATE,
        height=1640 if pictured else 900,
        title={
            "text": _title(measured),
            "subtitle": {"text": _subtitle(measured)},
            "y": 0.985,
            "yanchor": "top",
        },
        margin={"t": 160},
        legend={"x": 0, "xanchor": "left", "y": 1.018, "yanchor": "bottom"},
    )
    if not pictured:
        return figure
    return with_slider(figure, stops, lambda step: list(_picture(pictured, step)))


def _title(measured: Mapping[str, xr.Dataset]) -> str:
    """What path length and clustering did after memorization, where they did so in every run."""
    words = []
    for name, what in (
        ("relational_path_length", "paths"),
        ("relational_clustering", "clustering"),
    ):
        changes = [_change_after_memorizing(ds, name) for ds in measured.values()]
        if all(change > 0.02 for change in changes):
            words.append(f"{what} {'lengthen' if what == 'paths' else 'rises'}")
        elif all(change < -0.02 for change in changes):
            words.append(f"{what} {'shorten' if what == 'paths' else 'falls'}")
    return (
        f"In the relational graph of the kept weights {' and '.join(words)} after memorization"
        if words
        else "The kept weights as a graph, over training"
    )


def _change_after_memorizing(dataset: xr.Dataset, name: str) -> float:
    after = dataset[name][dataset.step >= dataset.attrs.get("t_mem", 0)]
    return float(after[-1] - after[0]) if after.size else 0.0


def _subtitle(measured: Mapping[str, xr.Dataset]) -> str:
    first = next(iter(measured.values()))
    kinds = "; ".join(f"{label}: {dataset.edges}" for label, dataset in measured.items())
    return (
        f"edges: {kinds}. Dotted: random graphs of the same density. Relational graph: "
        f"{first.nodes} nodes, {first.relational_density:.0%} of pairs."
        "<br>Vertical lines: t_mem (dotted) and t_gen (dashed)."
    )


def _add_curves(
    figure: go.Figure,
    measured: Mapping[str, xr.Dataset],
    colors: Mapping[str, str],
    name: str,
    reference: str | None,
    where: dict[str, int],
) -> None:
    """One quantity of every run over training, with that of random graphs dotted."""
    for label, dataset in measured.items():
        for curve, dash in ((name, "solid"), (reference, "dot")):
            if curve is None:
                continue
            random = "random, " if curve == reference else ""
            figure.add_scatter(
                x=dataset.step,
                y=dataset[curve],
                name=label,
                legendgroup=label,
                showlegend=where == {"row": 1, "col": 1},
                line={"color": colors[label], "width": 1.3 if random else 2, "dash": dash},
                hovertemplate=f"{label}<br>{random}step %{{x:,}}<br>%{{y:.4g}}<extra></extra>",
                **where,
            )


def _add_layers(
    figure: go.Figure,
    measured: Mapping[str, xr.Dataset],
    colors: Mapping[str, str],
    name: str,
    bound: Bound,
    where: dict[str, int],
) -> None:
    """A gap of every layer, thin, and the mean over layers, thick; one run's layers in colours."""
    for label, dataset in measured.items():
        values = dataset[name].sel(bound=bound) if name == "ramanujan_gap" else dataset[name]
        short = short_names([str(weight) for weight in dataset.weight.to_numpy()])
        for at, (weight, layer) in enumerate(short.items()):
            alone = len(measured) == 1
            figure.add_scatter(
                x=dataset.step,
                y=values.sel(weight=weight),
                name=layer,
                legendgroup=layer,
                showlegend=alone and where["col"] == 1,
                line={
                    "color": _PALETTE[at % len(_PALETTE)] if alone else colors[label],
                    "dash": "solid" if at < len(_PALETTE) else "dash",
                    "width": 1,
                },
                opacity=0.9 if alone else 0.35,
                hovertemplate=f"{label}, {layer}<br>step %{{x:,}}<br>%{{y:.4g}}<extra></extra>",
                **where,
            )
        figure.add_scatter(
            x=dataset.step,
            y=values.mean("weight"),
            name=f"{label} mean",
            legendgroup=label,
            showlegend=False,
            line={"color": colors[label], "width": 2.5},
            hovertemplate=f"{label}, mean of layers<br>step %{{x:,}}<br>%{{y:.4g}}<extra></extra>",
            **where,
        )


#: For layers and groups of units: not the first run's colour.
_PALETTE = COLORS[1:]


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


def _picture(pictured: Mapping[str, xr.Dataset], step: int) -> list[dict[str, Any]]:
    """The traces of every run's network at a step: edges by sign and strength, units, degrees."""
    traces: list[dict[str, Any]] = []
    for dataset in pictured.values():
        x, y = _positions(dataset)
        at = dataset.sel(picture=step, method="nearest")
        degree = dataset.degree.sel(step=int(at.picture)).to_numpy()
        weight = at.edge_weight.to_numpy()
        rank = np.broadcast_to(np.arange(weight.shape[1]), weight.shape)
        n_strong = weight.shape[1] // 5
        for is_positive in (True, False):
            for is_strong in (False, True):
                chosen = (weight > 0 if is_positive else weight < 0) & (
                    (rank < n_strong) == is_strong
                )
                ends = [at[name].to_numpy()[chosen] for name in ("edge_source", "edge_target")]
                gap = np.full(len(ends[0]), np.nan)
                traces.append(
                    {
                        "type": "scatter",
                        "x": np.stack([x[ends[0]], x[ends[1]], gap], 1).ravel().astype(np.float32),
                        "y": np.stack([y[ends[0]], y[ends[1]], gap], 1).ravel().astype(np.float32),
                    }
                )
        has_edges = degree > 0
        for alive in (True, False):
            units = np.flatnonzero(has_edges == alive)
            names = dataset.group.to_numpy()[units]
            first = {name: int(np.argmax(dataset.group.to_numpy() == name)) for name in set(names)}
            traces.append(
                {
                    "type": "scatter",
                    "x": x[units],
                    "y": y[units],
                    "text": [
                        f"{name}, unit {unit - first[name]}<br>degree {degree[unit]}"
                        for name, unit in zip(names, units, strict=True)
                    ],
                }
            )
        traces += _degree_curves(dataset, degree)
    return traces


def _degree_curves(dataset: xr.Dataset, degree: np.ndarray) -> list[dict[str, Any]]:
    """The distribution of degrees of each group, in bins that are the same at every step."""
    edges = np.linspace(0, float(dataset.degree.max()) + 1, 41)
    middle = (edges[1:] + edges[:-1]) / 2
    group = dataset.group.to_numpy()
    curves = []
    for name in dict.fromkeys(group.tolist()):
        count, _ = np.histogram(degree[group == name], edges)
        curves.append({"type": "scatter", "x": middle, "y": count / count.sum()})
    return curves


def _add_pictures(
    figure: go.Figure,
    pictured: Mapping[str, xr.Dataset],
    places: Mapping[str, int],
    step: int,
) -> None:
    """Add the traces that the slider changes, and label their axes."""
    traces = iter(_picture(pictured, step))
    for place, (label, dataset) in enumerate(pictured.items()):
        column = places[label]
        for color in (COLORS[0], COLORS[1]):
            for opacity, width in ((0.25, 0.6), (0.7, 1.0)):
                figure.add_trace(
                    go.Scatter(
                        next(traces),
                        mode="lines",
                        line={"color": color, "width": width},
                        opacity=opacity,
                        hoverinfo="skip",
                        showlegend=False,
                    ),
                    row=4,
                    col=column,
                )
        for color in ("#222222", "#E69F00"):
            figure.add_trace(
                go.Scatter(
                    next(traces),
                    mode="markers",
                    marker={
                        "color": color,
                        "size": 4 if color == "#222222" else 6,
                        "symbol": "circle" if color == "#222222" else "x",
                    },
                    hovertemplate="%{text}<extra></extra>",
                    showlegend=False,
                ),
                row=4,
                col=column,
            )
        groups = list(dict.fromkeys(dataset.group.to_numpy().tolist()))
        for at, name in enumerate(groups):
            figure.add_trace(
                go.Scatter(
                    next(traces),
                    name=name,
                    legend="legend2",
                    legendgroup=f"group {name}",
                    showlegend=place == 0,
                    line={
                        "color": _PALETTE[at % len(_PALETTE)],
                        "dash": "solid" if at < len(_PALETTE) else "dash",
                        "shape": "hvh",
                        "width": 1.8,
                    },
                    hovertemplate=f"{name}<br>degree %{{x:.0f}}<br>%{{y:.1%}} of the group"
                    "<extra></extra>",
                ),
                row=5,
                col=column,
            )
        _label_groups(figure, dataset, groups, column)
        figure.update_yaxes(visible=False, row=4, col=column)
        figure.update_xaxes(title="degree of a unit", row=5, col=column)
        figure.update_yaxes(tickformat=".0%", row=5, col=column)
    figure.update_yaxes(title="share of the group", row=5, col=1)
    figure.update_xaxes(title_standoff=2, row=5)
    below = figure.get_subplot(4, 1).yaxis.domain[0] - 0.035
    figure.update_layout(
        legend2={"orientation": "h", "x": 1, "xanchor": "right", "y": below, "yanchor": "middle"}
    )


def _label_groups(
    figure: go.Figure, dataset: xr.Dataset, groups: Sequence[str], column: int
) -> None:
    """Names of the groups: under a column that one group fills, beside one that several share."""
    x, y = _positions(dataset)
    group = dataset.group.to_numpy()
    at = dict(zip(groups, dataset.attrs["columns"], strict=True))
    shared = {place for place in at.values() if list(at.values()).count(place) > 1}
    last = max(at.values())
    for name in groups:
        if at[name] not in shared:
            continue
        members = group == name
        figure.add_scatter(
            x=x[members][:1],
            y=[float(y[members].mean())],
            text=[f"  {name}  "],
            mode="text",
            textposition="middle left" if at[name] < last else "middle right",
            showlegend=False,
            hoverinfo="skip",
            row=4,
            col=column,
        )
    figure.update_xaxes(
        tickvals=[place for place in at.values() if place not in shared],
        ticktext=[name for name, place in at.items() if place not in shared],
        range=[-0.25, last + 0.25] if shared else [-0.05 * last, 1.05 * last],
        showgrid=False,
        row=4,
        col=column,
    )
