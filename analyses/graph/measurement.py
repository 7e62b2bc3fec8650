"""Graph measurements of the unpruned weights at every checkpoint."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, get_args

import numpy as np
import xarray as xr
from jaxtyping import Float, Shaped
from torch import Tensor

from mechgrok.analyses.measures.checks import check_at_least
from mechgrok.analyses.measures.curves import JUDGED, judged_curve
from mechgrok.analyses.measures.finite import select_finite_steps
from mechgrok.analyses.measures.formats import format_change, format_steps, with_skipped_note
from mechgrok.analyses.measures.graphs import (
    Bound,
    NeuronGraph,
    four_cycle_clustering,
    ramanujan_bound,
    spectral_gap,
    strongest_edges,
    top_singular_values,
)
from mechgrok.analyses.measures.masks import kept_edges
from mechgrok.analyses.measures.relational import (
    relational_graph,
    relational_graph_above,
    relational_weights,
    small_world,
    threshold_of,
    weighted_world,
)
from mechgrok.analyses.measures.spacing import thin
from mechgrok.errors import UserError
from mechgrok.masks import Mask, Scope, check_rate
from mechgrok.models import Wiring
from mechgrok.results.variables import Variable, described
from mechgrok.runs import Run

#: Weights by name.
Weights = Mapping[str, Float[Tensor, "..."]]

#: The most relational graphs, and the time for one of 32 nodes.
_MOST_GRAPHS = 1_000_000
_SECONDS_OF_A_GRAPH = 0.002

VARIABLES = {
    **JUDGED,
    "path_length": Variable(
        "step", "edges", "mean of d(i, j) over pairs of units connected by a path"
    ),
    "diameter": Variable("step", "edges", "largest d(i, j)"),
    "components": Variable(
        "step", "components", "connected components, units without edges included"
    ),
    "isolated": Variable("step", "units", "units without edges"),
    "connected": Variable("step", "share", "share of the pairs of units connected by a path"),
    "clustering": Variable(
        "step",
        "share",
        "4 C₄ / L₃: share of the paths of three edges that close to a four-cycle; NaN with a "
        "recurrent matrix, which makes the graph not bipartite",
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
    "density": Variable("step, weight", "share", "unpruned share of the matrix"),
    "spectral_gap": Variable(
        "step, weight", "edges per unit", "λ₀ − λ₁, the two largest singular values of the mask"
    ),
    "weighted_spectral_gap": Variable(
        "step, weight", "weight", "λ₀ − λ₁, the two largest singular values of |w| on the edges"
    ),
    "signed_spectral_gap": Variable(
        "step, weight", "weight", "λ₀ − λ₁ of the signed w on the edges"
    ),
    "layer_clustering": Variable("step, weight", "share", "4 C₄ / L₃ of the single layer"),
    "ramanujan_gap": Variable("step, weight, bound", "edges per unit", "bound − λ₁ of the mask"),
    "degree": Variable("step, unit", "units", "units connected to the unit by an edge"),
    "edge_weight": Variable(
        "picture, weight, rank", "weight", "the strongest edges of each matrix, by |w|"
    ),
    "edge_source": Variable(
        "picture, weight, rank", "none", "the edge's input unit; −1 if the matrix has fewer edges"
    ),
    "edge_target": Variable(
        "picture, weight, rank", "none", "the edge's output unit; −1 if the matrix has fewer edges"
    ),
    "bound": Variable("bound", "none", "the name of a Ramanujan bound"),
    "unit": Variable("unit", "none", "the number of a neuron, token, or other unit"),
    "group": Variable("unit", "none", "the unit's group"),
    "picture": Variable("picture", "step", "checkpoints with edges for the picture"),
    "rank": Variable("rank", "none", "0 is the matrix's strongest edge"),
}
#: The variables over steps that use labels of the test set.
USES_TEST_LABELS = ("test_accuracy", "test_loss")


#: The edges of the relational graph: the strongest pairs, with a fixed number at every step; pairs
#: above a fixed threshold; or all pairs, weighted.
Relational = Literal["density", "threshold", "weighted"]


@dataclass(frozen=True)
class _Edges:
    """Selects edges: the weights of the mask, or all above a size."""

    rate: float
    scope: Scope
    above: float | None

    def at(self, run: Run, step: int) -> tuple[Mask, Weights]:
        """The edges of a checkpoint, and the weights on them."""
        saved = run.checkpoint(step)
        if self.above is None:
            mask = kept_edges(saved, self.rate, self.scope)
        else:
            weights = saved.effective_weights.items()
            mask = Mask({n: w.abs() > self.above for n, w in weights if w.ndim >= 2})
        return mask, {name: saved.weights[name] * mask[name] for name in run.wiring.connections}

    def describe(self, run: Run) -> str:
        """The criterion for an edge, as text."""
        if self.above is not None:
            return f"|w| > {self.above:g}"
        return "the run's mask" if run.mask is not None else f"magnitude mask, k = {self.rate:g}"


@dataclass(frozen=True)
class _Relational:
    """The definition of relational graphs, averaged over shuffles of the units.

    Attributes:
        kind: the criterion for an edge.
        nodes: the number of nodes.
        density: share of connected pairs; for a threshold, at the step that sets it.
        partitions: the number of shuffles.
        thresholds: one for each partition.
    """

    kind: Relational
    nodes: int
    density: float
    partitions: int
    thresholds: tuple[float, ...] = ()

    def with_thresholds(self, weights: Weights, wiring: Wiring) -> "_Relational":
        """A copy with the thresholds that connect the share ``density``, if the kind needs any."""
        if self.kind != "threshold" or self.nodes < 2:
            return self
        strengths = self.strengths(weights, wiring)
        return replace(
            self, thresholds=tuple(threshold_of(strength, self.density) for strength in strengths)
        )

    def strengths(self, weights: Weights, wiring: Wiring) -> list[Float[np.ndarray, "node node"]]:
        """The weights between nodes in each partition; with 0 partitions, for units in order."""
        seeds = range(self.partitions) if self.partitions else [None]
        return [relational_weights(weights, self.nodes, wiring, seed) for seed in seeds]

    def describe(self) -> str:
        """The connected pairs of nodes, as text."""
        if self.kind == "weighted":
            return "all pairs, by their weights"
        when = " at memorization, with the same threshold at every step"
        return f"{self.density:.0%} of pairs" + (when if self.kind == "threshold" else "")


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    rate: Annotated[float, "prune rate k of a dense run's magnitude masks"] = 0.6,
    scope: Annotated[Literal["global", "layer"], "one threshold, or one per weight"] = "global",
    above: Annotated[
        float | None, "use all weights with |w| above this as edges instead, at every step"
    ] = None,
    nodes: Annotated[
        int, "nodes of the relational graph; at most the narrowest layer's width"
    ] = 32,
    relational: Annotated[
        Relational,
        "edges of the relational graph: the strongest pairs, pairs above a threshold set at "
        "memorization, or all pairs, weighted",
    ] = "density",
    density: Annotated[float, "share of node pairs connected in the relational graph"] = 0.2,
    partitions: Annotated[int, "random assignments of units to nodes; 0: in order"] = 10,
    pictures: Annotated[int, "checkpoints with edges for the picture"] = 12,
    strongest: Annotated[int, "edges of each weight in the picture"] = 120,
) -> xr.Dataset:
    """Measure the layers, the neuron graph and the relational graph at every checkpoint.

    Returns:
        `VARIABLES`.

    Raises:
        UserError: an option is out of its range, or partitions and steps make more than
            `_MOST_GRAPHS` graphs.
    """
    check_rate(rate)
    check_at_least(2, nodes=nodes)
    check_at_least(1, strongest=strongest)
    if above is not None and not above >= 0:
        raise UserError(f"A threshold of {above:g} is negative: give --above 0 or more.")
    _check_partitions(partitions, len(run.select(steps)))
    steps, of_steps = select_finite_steps(run, steps)
    wiring, edges = run.wiring, _Edges(rate, scope, above)
    method = _Relational(relational, min(nodes, wiring.narrowest), density, partitions)
    method = method.with_thresholds(edges.at(run, _memorized(run, steps))[1], wiring)
    pictured = sorted(thin(steps, pictures)) if pictures > 0 else []
    largest = max(
        len(rows) * len(columns) for rows, columns in map(wiring.ends, wiring.connections)
    )
    n_edges = min(strongest, largest)

    def metrics(step: int) -> dict[str, Any]:
        return _metrics(run, step, edges, method, n_edges if step in pictured else 0)

    # NumPy and LAPACK release the GIL, so threads measure checkpoints in parallel.
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
            **({"picture": pictured, "rank": np.arange(n_edges)} if pictured else {}),
        },
        attrs={
            "edges": edges.describe(run),
            "nodes": method.nodes,
            "relational": method.describe(),
            "partitions": partitions,
            "columns": [wiring.column[group] for group in wiring.groups],
            **of_steps,
        },
        words={"units of the loss": run.task.loss_units},
    )


def _metrics(
    run: Run, step: int, edges: _Edges, method: _Relational, n_edges: int
) -> dict[str, Any]:
    """All metrics of a checkpoint, and its ``n_edges`` strongest edges."""
    mask, weights = edges.at(run, step)
    return {
        **_layers(mask, weights, run.wiring),
        **_neuron_graph(mask, run.wiring, step),
        **_relational_graph(weights, run.wiring, method),
        **(strongest_edges(weights, run.wiring, n_edges) if n_edges else {}),
    }


def _memorized(run: Run, steps: Sequence[int]) -> int:
    """The first step from t_mem on; the first step if the run has not memorized."""
    t_mem = run.t_mem
    return next((step for step in steps if t_mem is not None and step >= t_mem), steps[0])


def _check_partitions(partitions: int, n_steps: int) -> None:
    """Reject a negative number of partitions, or one that takes hours."""
    check_at_least(0, partitions=partitions)
    graphs = partitions * n_steps
    if graphs > _MOST_GRAPHS:
        hours = graphs * _SECONDS_OF_A_GRAPH / 3600
        raise UserError(
            f"{partitions:,} partitions at {n_steps:,} checkpoints are {graphs:,} relational "
            f"graphs, which take about {hours:,.1f} hours: choose at most "
            f"{_MOST_GRAPHS // n_steps:,}, or fewer --steps."
        )


def _stacked(per_step: Sequence[Mapping[str, Any]]) -> dict[str, Shaped[np.ndarray, "step ..."]]:
    """Each metric, stacked over the steps that have it."""
    return {
        name: np.stack([metrics[name] for metrics in per_step if name in metrics])
        for name in VARIABLES
        if any(name in metrics for metrics in per_step)
    }


def _layers(
    masks: Mask, weights: Weights, wiring: Wiring
) -> dict[str, Float[np.ndarray, "weight ..."]]:
    """The metrics of each single matrix."""
    rows: dict[str, list[Any]] = {}
    for name in wiring.connections:
        mask, weight = (wiring.matrix(name, tensors[name]) for tensors in (masks, weights))
        first, second = top_singular_values(mask)
        bounds = [float(ramanujan_bound(mask, bound) - second) for bound in get_args(Bound)]
        of_matrix = {
            "density": float(mask.double().mean()),
            "spectral_gap": float(first - second),
            "weighted_spectral_gap": float(spectral_gap(weight.abs())),
            "signed_spectral_gap": float(spectral_gap(weight)),
            "layer_clustering": float(four_cycle_clustering(mask)),
            "ramanujan_gap": bounds,
        }
        for metric, value in of_matrix.items():
            rows.setdefault(metric, []).append(value)
    return {metric: np.array(values) for metric, values in rows.items()}


def _neuron_graph(mask: Mask, wiring: Wiring, step: int) -> dict[str, Any]:
    """Metrics of the neuron graph, and of the graph with shuffled masks."""
    graph, shuffled = NeuronGraph(mask, wiring), NeuronGraph(mask.shuffled(step), wiring)
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


def _relational_graph(weights: Weights, wiring: Wiring, method: _Relational) -> dict[str, float]:
    """L, C and small-world index, averaged over random assignments of units to nodes.

    NaN if a layer has a single unit, and so the graph a single node.
    """
    undefined = dict.fromkeys(_RELATIONAL, float("nan"))
    if method.nodes < 2:
        return undefined
    strengths = method.strengths(weights, wiring)
    if method.kind == "weighted":
        means = np.mean([weighted_world(strength) for strength in strengths], axis=0)
        return undefined | dict(zip(_RELATIONAL[:2], means, strict=True))
    if method.kind == "density":
        graphs = [relational_graph(strength, method.density) for strength in strengths]
    else:
        graphs = list(map(relational_graph_above, strengths, method.thresholds))
    worlds = [small_world(graph) for graph in graphs]
    index = np.mean([world.small_world_index for world in worlds])
    means = [*np.mean(np.array(worlds), axis=0), index]
    return dict(zip(_RELATIONAL, map(float, means), strict=True))


#: The fields of `SmallWorld` in order, and the small-world index.
_RELATIONAL = (
    "relational_path_length",
    "relational_clustering",
    "random_relational_path_length",
    "random_relational_clustering",
    "small_world",
)


def finding(dataset: xr.Dataset) -> str:
    """Path length and clustering of both graphs, at the first and the last step."""

    def change(name: str) -> str:
        return format_change(dataset[name], ".2f")

    text = (
        f"{format_steps(dataset)}: neuron graph L {change('path_length')}, four-cycle clustering "
        f"{change('clustering')}; relational graph of {dataset.nodes} nodes L "
        f"{change('relational_path_length')}, C {change('relational_clustering')}, small-world "
        f"index {change('small_world')}"
    )
    return with_skipped_note(text, dataset)
