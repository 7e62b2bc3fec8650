"""Measures of networks as graphs, with units as nodes and unpruned weights as edges.

The *neuron graph* has a node for every unit (input, residual dimension, neuron, output) and an edge
for every unpruned weight. Without recurrent matrices it is bipartite, so it has no triangles and
its clustering counts four-cycles. A single layer is also a bipartite graph, whose spectrum consists
of singular values. Functions take masks or weights by name, as in `Run.checkpoint` and `Mask`. For
the *relational graph* see `mechgrok.analyses.measures.relational`.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer, Num
from scipy.sparse import coo_array, csgraph, csr_array
from torch import Tensor

from mechgrok.models import Wiring

#: The bound on the second singular value of a Ramanujan graph (`ramanujan_bound`).
Bound = Literal["biregular", "regular", "printed"]

# --- one layer: a bipartite graph and its spectrum ----------------------------------------------


def top_singular_values(
    matrix: Num[Tensor, "*rest d_in d_out"],
) -> Float[Tensor, "*rest 2"]:
    """λ₀ ≥ λ₁, the two largest singular values; λ₁ = 0 if there is only one.

    The bipartite graph with this biadjacency matrix has the eigenvalues ±λ_i.

    >>> top_singular_values(torch.ones(2, 8)).round(decimals=6).tolist()
    [4.0, 0.0]
    """
    values = torch.linalg.svdvals(matrix.double())
    return torch.nn.functional.pad(values, (0, 1))[..., :2]


def spectral_gap(matrix: Num[Tensor, "*rest d_in d_out"]) -> Float[Tensor, " *rest"]:
    """λ₀ − λ₁ of a layer's bipartite graph, a measure of mixing.

    Args:
        matrix: the layer's mask for the spectral gap; |w| on the edges for the *weighted* one.

    Source: Hoang et al. 2023 (ICLR, "Revisiting pruning at initialization through the lens of
    Ramanujan graph").

    >>> [round(float(spectral_gap(matrix)), 6) for matrix in (torch.ones(2, 8), torch.eye(3))]
    [4.0, 0.0]
    """
    first, second = top_singular_values(matrix).unbind(-1)
    return first - second


def ramanujan_bound(
    kept: Bool[Tensor, "*rest d_in d_out"], bound: Bound = "biregular"
) -> Float[Tensor, " *rest"]:
    """The upper bound on λ₁ in optimal expanders with as many edges.

    With m edges between n_l and n_r units, average degrees d_l = m/n_l, d_r = m/n_r and
    d = 2m/(n_l + n_r), units without edges included:

    * ``biregular``: √(d_l − 1) + √(d_r − 1), the bound for bipartite graphs;
    * ``regular``: 2 √(d − 1) (Lubotzky, Phillips and Sarnak 1988);
    * ``printed``: √(2 d − 1), as in Minegishi et al. 2023 (arXiv 2310.19470, version 3).

    The root of a negative number (less than one edge per unit) counts as 0.

    >>> complete = torch.ones(5, 5, dtype=torch.bool)
    >>> [float(ramanujan_bound(complete, bound)) for bound in ("biregular", "regular", "printed")]
    [4.0, 4.0, 3.0]
    """
    n_l, n_r = kept.shape[-2:]
    edges = kept.double().sum((-2, -1))
    d_l, d_r, d = edges / n_l, edges / n_r, 2 * edges / (n_l + n_r)
    if bound == "biregular":
        return (d_l - 1).clamp_min(0).sqrt() + (d_r - 1).clamp_min(0).sqrt()
    if bound == "regular":
        return 2 * (d - 1).clamp_min(0).sqrt()
    return (2 * d - 1).clamp_min(0).sqrt()


def ramanujan_gap(
    kept: Bool[Tensor, "*rest d_in d_out"], bound: Bound = "biregular"
) -> Float[Tensor, " *rest"]:
    """Δ_r = bound − μ̂: positive for a Ramanujan graph, an optimal expander.

    μ̂ is the largest non-trivial eigenvalue. ±λ₀ are trivial in a bipartite graph, so μ̂ is the
    third largest in magnitude, which is λ₁, the second singular value (Hoang et al. 2023).

    >>> float(ramanujan_gap(torch.ones(5, 5, dtype=torch.bool)).round(decimals=6))
    4.0
    """
    return ramanujan_bound(kept, bound) - top_singular_values(kept)[..., 1]


def four_cycle_clustering(kept: Num[Tensor, "*rest d_in d_out"]) -> Float[Tensor, " *rest"]:
    """4 C₄ / L₃: the share of paths of three edges that close to a cycle of four.

    C₄ = Σ_{u<v} s_uv (s_uv − 1) / 2 over pairs of units on one side, s_uv their common neighbours;
    L₃ = Σ_{edges (u, v)} (k_u − 1)(k_v − 1), k the degrees. About the density in a random bipartite
    graph, 1 in a complete one, NaN without paths of three edges.

    Source: Robins and Alexander 2004; ``robins_alexander_clustering`` in networkx.

    >>> ring = torch.tensor([[1, 1, 0], [0, 1, 1], [1, 0, 1]])  # a cycle of six, none of four
    >>> float(four_cycle_clustering(torch.ones(3, 4))), float(four_cycle_clustering(ring))
    (1.0, 0.0)
    """
    a = kept.double()
    if a.shape[-2] > a.shape[-1]:
        a = a.mT
    shared = a @ a.mT
    degree, other = a.sum(-1), a.sum(-2)
    ordered = (shared * (shared - 1)).sum((-2, -1)) - (degree * (degree - 1)).sum(-1)
    pairs = torch.einsum("...u,...uv,...v->...", degree - 1, a, other - 1)
    return ordered / pairs  # each cycle is in two of the ordered pairs on one side, twice: 4 C₄


# --- the neuron graph ---------------------------------------------------------------------------


def left_side(wiring: Wiring) -> Bool[np.ndarray, " unit"]:
    """One side of the bipartite neuron graph, whose units only connect to the other side.

    It consists of the groups an even number of matrices away from the inputs, in every network
    without recurrent matrices: a transformer reads and writes its residual stream in two matrices.

    >>> import mechgrok
    >>> wiring = mechgrok.Run("data/base").wiring  # inputs, resid_pre, neurons, mlp_out, outputs
    >>> int(left_side(wiring).sum()) == sum(wiring.groups[g].size for g in list(wiring.groups)[::2])
    True
    """
    return np.array([wiring.column[group] % 2 == 0 for group in wiring.group_of])


class NeuronGraph:
    """The graph of a network's units, connected by unpruned weights.

    Args:
        kept: the mask of each matrix, by name: a `Mask` or another mapping.
        wiring: the connections between units: ``run.wiring``.

    Attributes:
        wiring: the connections between units.
        adjacency: the symmetric 0/1 matrix ``[unit, unit]``, sparse.

    >>> import mechgrok
    >>> run = mechgrok.Run("data/ticket")
    >>> graph = NeuronGraph(run.mask, run.wiring)
    >>> graph.adjacency.shape[0] == run.wiring.n_units, graph.diameter
    (True, 4)
    """

    def __init__(self, kept: Mapping[str, Bool[Tensor, "..."]], wiring: Wiring) -> None:
        self.wiring = wiring
        rows, columns = [], []
        for name in wiring.connections:
            source, target = wiring.ends(name)
            at = wiring.matrix(name, kept[name]).numpy().nonzero()
            rows.append(at[0] + source.start)
            columns.append(at[1] + target.start)
        row, column = np.concatenate(rows), np.concatenate(columns)
        is_edge = row != column  # a recurrent unit may read itself
        row, column = row[is_edge], column[is_edge]
        n = self.wiring.n_units
        ends = (np.concatenate([row, column]), np.concatenate([column, row]))
        ones = np.ones(2 * len(row), dtype=np.float32)
        self.adjacency: csr_array = coo_array((ones, ends), shape=(n, n)).tocsr()
        # A transformer's unit may read and write the same residual dimension: count one edge.
        self.adjacency.data[:] = 1

    @property
    def degrees(self) -> Integer[np.ndarray, " unit"]:
        """The number of units connected to each unit."""
        return np.diff(self.adjacency.indptr)

    @cached_property
    def pairs_at_distance(self) -> Integer[np.ndarray, " distance"]:
        """The number of ordered pairs of units 0, 1, 2, … edges apart (`pairs_at_distance`)."""
        return pairs_at_distance(self.adjacency)

    @property
    def average_path_length(self) -> float:
        """L = mean of d(i, j) over the connected pairs i ≠ j; NaN without edges."""
        return average_path_length(self.pairs_at_distance)

    @property
    def diameter(self) -> int:
        """The largest distance between two connected units."""
        return len(self.pairs_at_distance) - 1

    @property
    def connected_share(self) -> float:
        """The share of connected pairs i ≠ j."""
        n = self.wiring.n_units
        return float(self.pairs_at_distance[1:].sum() / (n * (n - 1)))

    @property
    def n_components(self) -> int:
        """The number of connected components, units without edges included."""
        return int(csgraph.connected_components(self.adjacency, directed=False)[0])

    @property
    def clustering(self) -> float:
        """`four_cycle_clustering` of the whole graph; NaN if it is not bipartite.

        Recurrent matrices, and matrices that skip a group of units, make it not bipartite.
        """
        column = self.wiring.column
        connections = self.wiring.connections.values()
        if any((column[c.source] - column[c.target]) % 2 == 0 for c in connections):
            return float("nan")
        left = left_side(self.wiring)
        return float(
            four_cycle_clustering(torch.from_numpy(self.adjacency[left][:, ~left].toarray()))
        )


def pairs_at_distance(adjacency: csr_array) -> Integer[np.ndarray, " distance"]:
    """The number of ordered pairs of nodes 0, 1, 2, … edges apart, without unconnected pairs.

    A breadth-first search from all nodes at once: the set reached by a node in d + 1 steps is the
    union of the sets reached by its neighbours in d. Sets are rows of bits, and a node that reaches
    all others is finished. For a network's graph, with its short distances, this is more than ten
    times as fast as one search per node.

    Args:
        adjacency: a symmetric sparse matrix without self-loops; every stored entry is an edge.

    >>> path = csr_array([[0, 1, 0], [1, 0, 1], [0, 1, 0]])  # three nodes in a row
    >>> pairs_at_distance(path)
    array([3, 4, 2])
    """
    degrees = np.diff(adjacency.indptr)
    n = len(degrees)
    # Without this, units without edges would prevent every other row from finishing.
    graph = adjacency[degrees > 0][:, degrees > 0]
    n_joined = graph.shape[0]
    n_words = -(-n_joined // 64)
    members = np.zeros((n_joined, 64 * n_words), dtype=bool)
    members[np.repeat(np.arange(n_joined), np.diff(graph.indptr)), graph.indices] = True
    np.fill_diagonal(members, True)
    reached = np.packbits(members, axis=1).view(np.uint64)
    counts = [n, graph.nnz]
    while True:
        size = np.bitwise_count(reached).sum(1)
        unfinished = np.flatnonzero(size < n_joined)
        if not len(unfinished):
            break
        grown = _union_with_neighbours(reached, graph[unfinished], unfinished)
        added = int(np.bitwise_count(grown).sum()) - int(size.sum())
        if not added:
            break
        counts.append(added)
        reached = grown
    return np.array(counts if counts[1] else counts[:1])


def _union_with_neighbours(
    sets: Integer[np.ndarray, "node word"], edges: csr_array, nodes: Integer[np.ndarray, " row"]
) -> Integer[np.ndarray, "node word"]:
    """The sets, with those of ``nodes`` (the rows of ``edges``) grown by one step."""
    grown = sets.copy()
    # In parts whose neighbours' sets fit into the processor's cache together.
    per_part = max(1, 2**14 * len(nodes) // (edges.nnz * sets.shape[1]))
    for start in range(0, len(nodes), per_part):
        rows = nodes[start : start + per_part]
        at = edges.indptr[start : start + len(rows) + 1]
        neighbours = sets[edges.indices[at[0] : at[-1]]]
        grown[rows] |= np.bitwise_or.reduceat(neighbours, at[:-1] - at[0], axis=0)
    return grown


def average_path_length(pairs: Integer[np.ndarray, " distance"]) -> float:
    """L = Σ_d d n_d / Σ_d n_d, n_d the number of pairs at distance d > 0; NaN if there are none.

    >>> average_path_length(np.array([3, 4, 2]))
    1.3333333333333333
    """
    joined = pairs[1:].sum()
    return float(np.arange(len(pairs)) @ pairs / joined) if joined else float("nan")


def strongest_edges(
    weights: Mapping[str, Float[Tensor, "..."]], wiring: Wiring, count: int
) -> dict[str, np.ndarray]:
    """The ``count`` largest weights of each matrix, with the units that they connect.

    Args:
        weights: by name, with zeros for pruned weights.
        wiring: the matrices, and the numbers of the units.
        count: edges per matrix; a matrix with fewer non-zero weights is padded with weights 0
            between units −1 and −1.

    Returns:
        ``edge_weight [weight, rank]``, largest |w| first, and ``edge_source``, ``edge_target``.

    >>> from mechgrok.models.wiring import chain
    >>> wiring = chain({"W_in": (1, 2), "W_out": (2, 1)})
    >>> weights = {"W_in": torch.tensor([[0.5, -2.0]]), "W_out": torch.tensor([[1.0], [0.0]])}
    >>> edges = strongest_edges(weights, wiring, 2)
    >>> edges["edge_weight"].tolist()
    [[-2.0, 0.5], [1.0, 0.0]]
    >>> edges["edge_source"].tolist(), edges["edge_target"].tolist()
    ([[0, 0], [1, -1]], [[2, 1], [3, -1]])
    """
    value = np.zeros((len(wiring.connections), count), dtype=np.float32)
    source = np.full(value.shape, -1, dtype=np.int32)
    target = source.copy()
    for row, name in enumerate(wiring.connections):
        matrix = wiring.matrix(name, weights[name])
        rows, columns = wiring.ends(name)
        flat = matrix.flatten()
        top = flat.abs().topk(min(count, int(flat.count_nonzero()))).indices
        value[row, : len(top)] = flat[top]
        source[row, : len(top)] = top // matrix.shape[1] + rows.start
        target[row, : len(top)] = top % matrix.shape[1] + columns.start
    return {"edge_weight": value, "edge_source": source, "edge_target": target}
