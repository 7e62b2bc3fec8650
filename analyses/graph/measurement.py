"""What is measured of the kept weights as a graph, at every checkpoint."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

import numpy as np
import torch
import xarray as xr

from mechgrok.analyses.measures.curves import judged_curve
from mechgrok.analyses.measures.finite import and_left_out, looked_at
from mechgrok.analyses.measures.graphs import (
    Bound,
    NeuronGraph,
    four_cycle_clustering,
    ramanujan_bound,
    relational_graph,
    relational_graph_above,
    relational_weights,
    small_world,
    strongest_edges,
    threshold_of,
    top_singular_values,
    weighted_world,
)
from mechgrok.analyses.measures.masks import kept_edges
from mechgrok.analyses.measures.places import spread
from mechgrok.analyses.measures.words import between_steps, ends
from mechgrok.errors import UserError
from mechgrok.masks import Mask, check_rate
from mechgrok.models import Wiring
from mechgrok.results.variables import Variable, described
from mechgrok.runs import Checkpoint, Run

#: Relational graphs that are made at most, and what one of 32 nodes takes.
_MOST_GRAPHS = 1_000_000
_SECONDS_OF_A_GRAPH = 0.002

VARIABLES = {
    "test_accuracy": Variable(
        "step", "share", "right answers on the test set, for tasks judged by them"
    ),
    "test_loss": Variable(
        "step", "{units of the loss}", "the loss on the test set, for tasks judged by it"
    ),
    "path_length": Variable(
        "step", "edges", "mean of d(i, j) over pairs of units that a path of kept weights joins"
    ),
    "diameter": Variable("step", "edges", "largest d(i, j)"),
    "components": Variable(
        "step", "components", "connected components, units without edges included"
    ),
    "isolated": Variable("step", "units", "units without a kept weight"),
    "connected": Variable("step", "share", "share of the pairs of units that a path joins"),
    "clustering": Variable(
        "step",
        "share",
        "4 C₄ / L₃: share of the paths of three edges that are closed to a four-cycle; NaN where a "
        "matrix is recurrent, as the graph is not bipartite then",
    ),
    "random_path_length": Variable(
        "step", "edges", "path_length after shuffling each matrix's mask"
    ),
    "random_clustering": Variable("step", "share", "clustering after shuffling each matrix's mask"),
    "relational_path_length": Variable(
        "step", "edges", "mean distance in the relational graph, mean over partitions"
    ),
    "relational_clustering": Variable(
        "step", "share", "mean of 2 e_i / (k_i (k_i − 1)), mean over partitions"
    ),
    "random_relational_path_length": Variable(
        "step", "edges", "relational_path_length of random graphs of the same density"
    ),
    "random_relational_clustering": Variable(
        "step", "share", "relational_clustering of random graphs of the same density"
    ),
    "small_world": Variable(
        "step",
        "ratio",
        "(C / C_random) / (L / L_random) of the relational graph, mean over partitions",
    ),
    "density": Variable("step, weight", "share", "share of the matrix that is kept"),
    "spectral_gap": Variable(
        "step, weight", "edges per unit", "λ₀ − λ₁, the two largest singular values of the mask"
    ),
    "weighted_spectral_gap": Variable(
        "step, weight",
        "weight",
        "λ₀ − λ₁, the two largest singular values of |w| on the kept edges",
    ),
    "signed_spectral_gap": Variable(
        "step, weight", "weight", "λ₀ − λ₁ of w itself, with its sign, on the kept edges"
    ),
    "layer_clustering": Variable("step, weight", "share", "4 C₄ / L₃ of the layer by itself"),
    "ramanujan_gap": Variable("step, weight, bound", "edges per unit", "bound − λ₁ of the mask"),
    "degree": Variable("step, unit", "units", "units that kept weights join to the unit"),
    "edge_weight": Variable(
        "picture, weight, rank", "weight", "the strongest kept weights of each matrix, by |w|"
    ),
    "edge_source": Variable(
        "picture, weight, rank",
        "none",
        "the unit that the weight reads; −1 where there are fewer edges",
    ),
    "edge_target": Variable(
        "picture, weight, rank",
        "none",
        "the unit that the weight writes to; −1 where there are fewer edges",
    ),
    "bound": Variable("bound", "none", "the name of a Ramanujan bound"),
    "unit": Variable("unit", "none", "the number of a neuron, token, or other end of a weight"),
    "group": Variable("unit", "none", "the group of units that the unit belongs to"),
    "picture": Variable("picture", "step", "checkpoints whose edges are kept for the picture"),
    "rank": Variable("rank", "none", "0 is the matrix's strongest edge"),
}


#: How edges of the relational graph are made: the strongest pairs, as many at every step; the pairs
#: above a threshold that is the same at every step; or all pairs, with their weights.
Relational = Literal["density", "threshold", "weighted"]


@dataclass
class _Relational:
    """How relational graphs are made, and shuffles of the units to average over.

    Attributes:
        kind: what makes an edge.
        nodes: of the graph.
        density: share of the pairs that is joined; of a threshold, at the step that sets it.
        partitions: how many shuffles.
        thresholds: of each partition.
    """

    kind: Relational
    nodes: int
    density: float
    partitions: int
    thresholds: tuple[float, ...] = ()

    @property
    def seeds(self) -> Sequence[int | None]:
        """Of the shuffles; None for the units as they are numbered."""
        return range(self.partitions) if self.partitions else [None]


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    rate: Annotated[float, "prune rate k of a dense run's magnitude masks"] = 0.6,
    scope: Annotated[Literal["global", "layer"], "one threshold, or one per weight"] = "global",
    above: Annotated[
        float | None, "edges are the weights with |w| above this, at every step, instead"
    ] = None,
    nodes: Annotated[int, "nodes of the relational graph; the narrowest layer's at most"] = 32,
    relational: Annotated[
        Relational,
        "edges of the relational graph: the strongest pairs, those above what joins as many when "
        "the run has memorized, or all with their weights",
    ] = "density",
    density: Annotated[float, "share of node pairs that the relational graph joins"] = 0.2,
    partitions: Annotated[int, "random ways to put units into nodes; 0 takes them in order"] = 10,
    pictures: Annotated[int, "checkpoints at which the edges are kept for the picture"] = 12,
    strongest: Annotated[int, "edges of each weight in the picture"] = 250,
) -> xr.Dataset:
    """Metrics of the layers, the neuron graph and the relational graph, at every checkpoint.

    Returns:
        `VARIABLES`.

    Raises:
        UserError: the rate is outside [0, 1), the density outside (0, 1], ``above`` below 0, there
            are fewer than two nodes or fewer than one edge in a picture, or more partitions than
            can be waited for.
    """
    check_rate(rate)
    if nodes < 2:
        raise UserError(f"A relational graph of {nodes} nodes has no edge: choose 2 or more.")
    if strongest < 1:
        raise UserError(f"{strongest} edges make no picture: choose 1 or more, or --pictures 0.")
    if above is not None and not above >= 0:
        raise UserError(f"No weight is larger than {above:g} in size: give --above 0 or more.")
    _check_partitions(partitions, len(run.select(steps)))
    steps, of_steps = looked_at(run, steps)
    wiring = run.wiring
    how = _Relational(relational, min(nodes, wiring.narrowest), density, partitions)
    pictured = set(spread(steps, pictures)) if pictures > 0 else set()
    largest = max(
        len(rows) * len(columns) for rows, columns in map(wiring.ends, wiring.connections)
    )
    strongest = min(strongest, largest)

    def edges(step: int) -> tuple[Mask, dict[str, torch.Tensor]]:
        saved = run.checkpoint(step)
        kept = kept_edges(saved, rate, scope) if above is None else _edges_above(saved, above)
        return kept, {name: saved.weights[name] * kept[name] for name in wiring.connections}

    if relational == "threshold" and how.nodes > 1:
        how.thresholds = _thresholds(edges(_memorized(run, steps))[1], wiring, how)

    def metrics(step: int) -> dict[str, Any]:
        kept, weights = edges(step)
        return {
            **_layers(kept, weights, wiring),
            **_neuron_graph(kept, wiring, step),
            **_relational_graph(weights, wiring, how),
            **(strongest_edges(weights, wiring, strongest) if step in pictured else {}),
        }

    # NumPy's and LAPACK's loops let other threads run: two checkpoints are measured at a time.
    with ThreadPoolExecutor() as pool:
        per_step = list(pool.map(metrics, steps))
    quantity, curve = judged_curve(run, steps)
    return described(
        VARIABLES,
        {quantity: curve, **_stacked(per_step)},
        coords={
            "step": steps,
            "weight": list(wiring.connections),
            "bound": list(get_args(Bound)),
            "unit": np.arange(wiring.n_units),
            "group": wiring.group_of,
            **({"picture": sorted(pictured), "rank": np.arange(strongest)} if pictured else {}),
        },
        attrs={
            "edges": _edges_in_words(run, rate, above),
            "nodes": how.nodes,
            "relational": _relational_in_words(how),
            "partitions": partitions,
            "columns": [wiring.column[group] for group in wiring.groups],
            **of_steps,
            **run.milestones,
        },
        words={"units of the loss": run.task.loss_units},
    )


def _edges_above(saved: Checkpoint, above: float) -> Mask:
    weights = saved.effective_weights
    return Mask({name: w.abs() > above for name, w in weights.items() if w.ndim >= 2})


def _edges_in_words(run: Run, rate: float, above: float | None) -> str:
    if above is not None:
        return f"|w| > {above:g}"
    return "the run's mask" if run.mask is not None else f"magnitude mask, k = {rate:g}"


def _relational_in_words(how: _Relational) -> str:
    if how.kind == "weighted":
        return "all pairs, by their weights"
    when = " when it has memorized, the same threshold at every step"
    return f"{how.density:.0%} of pairs" + (when if how.kind == "threshold" else "")


def _memorized(run: Run, steps: Sequence[int]) -> int:
    """The first of the steps at which the training set is learned; the first where none is."""
    t_mem = run.t_mem
    return next((step for step in steps if t_mem is not None and step >= t_mem), steps[0])


def _thresholds(
    weights: Mapping[str, torch.Tensor], wiring: Wiring, how: _Relational
) -> tuple[float, ...]:
    """The threshold of each partition that joins ``how.density`` of the pairs."""
    return tuple(
        threshold_of(relational_weights(weights, how.nodes, wiring, seed), how.density)
        for seed in how.seeds
    )


def _check_partitions(partitions: int, n_steps: int) -> None:
    """Refuse a number of partitions that is none, or would be waited for in vain."""
    if partitions < 0:
        raise UserError(f"{partitions} partitions cannot be made: choose 0 or more.")
    graphs = partitions * n_steps
    if graphs > _MOST_GRAPHS:
        hours = graphs * _SECONDS_OF_A_GRAPH / 3600
        raise UserError(
            f"{partitions:,} partitions at {n_steps:,} checkpoints are {graphs:,} relational "
            f"graphs, which take about {hours:,.1f} hours: choose at most "
            f"{_MOST_GRAPHS // n_steps:,}, or fewer --steps."
        )


def _stacked(per_step: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Every metric over the steps that have it."""
    return {
        name: np.stack([metrics[name] for metrics in per_step if name in metrics])
        for name in VARIABLES
        if any(name in metrics for metrics in per_step)
    }


def _layers(
    kept: Mask, weights: Mapping[str, torch.Tensor], wiring: Wiring
) -> dict[str, np.ndarray]:
    """What is measured on each matrix by itself, one value per matrix."""
    rows = []
    for name in wiring.connections:
        mask, weight = (wiring.matrix(name, part[name]) for part in (kept, weights))
        first, second = top_singular_values(mask)
        w_first, w_second = top_singular_values(weight.abs())
        s_first, s_second = top_singular_values(weight)
        bounds = [float(ramanujan_bound(mask, bound) - second) for bound in get_args(Bound)]
        rows.append(
            [
                float(mask.double().mean()),
                float(first - second),
                float(w_first - w_second),
                float(s_first - s_second),
                float(four_cycle_clustering(mask)),
                *bounds,
            ]
        )
    table = np.array(rows)
    names = (
        "density",
        "spectral_gap",
        "weighted_spectral_gap",
        "signed_spectral_gap",
        "layer_clustering",
    )
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
    strengths = [relational_weights(weights, how.nodes, wiring, seed) for seed in how.seeds]
    if how.kind == "weighted":
        length, clustering = np.mean([weighted_world(each) for each in strengths], axis=0)
        return dict(zip(_RELATIONAL, (length, clustering, *3 * [float("nan")]), strict=True))
    graphs = (
        [relational_graph(each, how.density) for each in strengths]
        if how.kind == "density"
        else map(relational_graph_above, strengths, how.thresholds)
    )
    worlds = [small_world(graph) for graph in graphs]
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


def finding(dataset: xr.Dataset) -> str:
    """Path length and clustering of both graphs, at the start and at the end."""
    first, last = dataset.isel(step=0), dataset.isel(step=-1)

    def change(name: str) -> str:
        if not np.isfinite([first[name], last[name]]).all():
            return "undefined"
        return ends(f"{float(first[name]):.2f}", f"{float(last[name]):.2f}")

    def random(name: str) -> str:
        value = float(last[f"random_{name}"])
        return f" (random {value:.2f})" if np.isfinite(value) else ""

    edges = not np.isnan(last.path_length)
    neurons = (
        f"neuron graph L {change('path_length')}{random('path_length')}, four-cycle clustering "
        f"{change('clustering')}{random('clustering')}, {int(last.isolated)} units without edges"
        if edges
        else "no weight is kept, the graph has no edges"
    )
    relational = (
        f"relational graph of {dataset.nodes} nodes L {change('relational_path_length')}, C "
        f"{change('relational_clustering')}, small-world index {change('small_world')}"
        if dataset.nodes > 1
        else "no relational graph, a layer has one unit"
    )
    return and_left_out(f"{between_steps(dataset)}: {neurons}; {relational}", dataset)
