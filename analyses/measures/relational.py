"""The relational graph of a network: a few nodes, each a block of units in every layer.

Edges connect the pairs of nodes with most weight between them (You et al. 2020, arXiv 2007.06559).
"""

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

import igraph
import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse import csgraph, csr_array
from torch import Tensor

from mechgrok.errors import UserError
from mechgrok.models import Wiring


def relational_weights(
    weights: Mapping[str, Float[Tensor, "..."]],
    nodes: int,
    wiring: Wiring,
    seed: int | None = None,
) -> Float[np.ndarray, "node node"]:
    """Σ |w| between blocks of units: the weighted relational graph of a network.

    Each group of units is split into ``nodes`` nearly equal blocks: unit u of a group of size s
    belongs to node ⌊u · nodes / s⌋. The weight between nodes i and j is Σ |w| over all matrices
    and all entries between block i and block j, in either direction; the diagonal is 0.

    Args:
        weights: masked weights by name.
        nodes: at most the size of the narrowest hidden group, so that every node is in each layer.
        wiring: the connections between units: ``run.wiring``.
        seed: shuffles the units of each group first (neurons have no order); None keeps their
            order.

    Source: You et al. 2020 (arXiv 2007.06559).

    Raises:
        UserError: there are more nodes than units in a hidden group.

    >>> import mechgrok
    >>> run = mechgrok.Run("data/base")
    >>> relational_weights(run.checkpoint(-1).weights, 8, run.wiring).shape
    (8, 8)
    """
    narrowest = wiring.narrowest
    if not 2 <= nodes <= narrowest:
        raise UserError(
            f"A relational graph of {nodes} nodes does not fit this network: choose from 2 up to "
            f"{narrowest}, the size of its narrowest hidden layer."
        )
    generator = np.random.default_rng(seed)
    blocks = []
    for group in wiring.groups.values():
        units = np.arange(group.size) if seed is None else generator.permutation(group.size)
        member = torch.zeros(group.size, nodes)
        member[torch.arange(group.size), torch.from_numpy(units * nodes // group.size)] = 1
        blocks.append(member)
    members = torch.cat(blocks)
    total = torch.zeros(nodes, nodes, dtype=torch.float64)
    for name in wiring.connections:
        source, target = (members[end.start : end.stop] for end in wiring.ends(name))
        total += (source.T @ wiring.matrix(name, weights[name]).abs() @ target).double()
    symmetric = (total + total.T).numpy()
    np.fill_diagonal(symmetric, 0)
    return symmetric


def relational_graph(strength: Float[np.ndarray, "node node"], density: float) -> igraph.Graph:
    """The graph of the strongest pairs of nodes, at most a share ``density``, none of weight 0.

    Raises:
        UserError: the density is outside (0, 1].

    >>> strength = np.array([[0, 3, 1], [3, 0, 2], [1, 2, 0]])
    >>> relational_graph(strength, density=0.67).get_edgelist()
    [(0, 1), (1, 2)]
    """
    _check_density(density)
    row, column = np.triu_indices(len(strength), 1)
    pairs = strength[row, column]
    strongest = np.argsort(-pairs, kind="stable")[: round(density * len(pairs))]
    chosen = strongest[pairs[strongest] > 0]
    return igraph.Graph(len(strength), np.stack([row[chosen], column[chosen]], 1))


def _check_density(density: float) -> None:
    if not 0 < density <= 1:
        raise UserError(
            f"A density of {density} is outside (0, 1]: give the share of connected pairs of nodes "
            "in the relational graph, such as 0.2."
        )


def threshold_of(strength: Float[np.ndarray, "node node"], density: float) -> float:
    """The threshold with which `relational_graph_above` connects that share of all pairs of nodes.

    Raises:
        UserError: the density is outside (0, 1].

    >>> threshold_of(np.array([[0, 3, 1], [3, 0, 2], [1, 2, 0]]), density=0.67)
    1.0
    """
    _check_density(density)
    pairs = np.sort(strength[np.triu_indices(len(strength), 1)])[::-1]
    count = round(density * len(pairs))
    return float(pairs[count]) if count < len(pairs) else 0.0


def relational_graph_above(
    strength: Float[np.ndarray, "node node"], threshold: float
) -> igraph.Graph:
    """The graph of the pairs of nodes with a weight above the threshold.

    >>> relational_graph_above(np.array([[0, 3, 1], [3, 0, 2], [1, 2, 0]]), 1.5).get_edgelist()
    [(0, 1), (1, 2)]
    """
    row, column = np.triu_indices(len(strength), 1)
    chosen = strength[row, column] > threshold
    return igraph.Graph(len(strength), np.stack([row[chosen], column[chosen]], 1))


class SmallWorld(NamedTuple):
    """Path length and clustering of a graph, and of random graphs of the same density.

    Attributes:
        path_length: L, the mean distance between two connected nodes.
        clustering: C, the mean over nodes of 2 e_i / (k_i (k_i − 1)), e_i the edges among the k_i
            neighbours; 0 for a node with fewer than two.
        random_path_length: the mean L of random graphs with as many nodes and edges.
        random_clustering: the mean C of these graphs.

    >>> SmallWorld(2.0, 0.6, random_path_length=2.0, random_clustering=0.2).small_world_index
    2.9999999999999996
    """

    path_length: float
    clustering: float
    random_path_length: float
    random_clustering: float

    @property
    def small_world_index(self) -> float:
        """σ = (C / C_random) / (L / L_random), > 1 in a small world (Humphries and Gurney 2008)."""
        if not (self.random_clustering and self.path_length):
            return float("nan")
        return (self.clustering / self.random_clustering) / (
            self.path_length / self.random_path_length
        )


def small_world(graph: igraph.Graph, samples: int = 50) -> SmallWorld:
    """L, C, and their means over ``samples`` random graphs, the same graphs at every call.

    >>> ring = igraph.Graph.Lattice([30], nei=3)  # neighbours are neighbours' neighbours
    >>> small_world(ring).clustering, small_world(ring).small_world_index > 1
    (0.6, True)
    """
    length, clustering = _length_and_clustering(graph)
    return SmallWorld(
        length, clustering, *_random_reference(graph.vcount(), graph.ecount(), samples)
    )


def weighted_world(strength: Float[np.ndarray, "node node"]) -> tuple[float, float]:
    """L and C of the weighted relational graph, without a threshold.

    L = w̄ · mean of d(i, j), where an edge has length 1/w and w̄ is the mean weight over pairs, so
    that a graph of equal weights has L = 1. C = mean over nodes of Σ (ŵ_ij ŵ_jk
    ŵ_ik)^⅓ / (k_i (k_i − 1)), ŵ = w / max w and k_i the neighbours of i (Onnela et al. 2005).

    Returns:
        L, NaN for a graph without edges; and C.

    >>> weighted_world(2 * (1 - np.eye(4)))
    (1.0, 1.0)
    """
    row, column = np.triu_indices(len(strength), 1)
    mean = strength[row, column].mean()
    if not mean:
        return float("nan"), 0.0
    lengths = np.divide(1, strength, out=np.zeros_like(strength, dtype=float), where=strength > 0)
    distance = csgraph.shortest_path(csr_array(lengths), directed=False)[row, column]
    cubic = np.cbrt(strength / strength.max())
    neighbours = (strength > 0).sum(1)
    triangles = np.diag(cubic @ cubic @ cubic)
    pairs = neighbours * (neighbours - 1)
    clustering = np.divide(triangles, pairs, out=np.zeros(len(pairs)), where=pairs > 0)
    return round(float(mean * distance[np.isfinite(distance)].mean()), 12), float(clustering.mean())


def _length_and_clustering(graph: igraph.Graph) -> tuple[float, float]:
    return (
        graph.average_path_length(directed=False, unconn=True),
        graph.transitivity_avglocal_undirected(mode="zero"),
    )


@cache
def _random_reference(n: int, m: int, samples: int) -> tuple[float, float]:
    """Mean L and C of uniform random graphs with n nodes and m edges."""
    generator = np.random.default_rng(0)
    pairs = np.stack(np.triu_indices(n, 1), 1)
    drawn = [
        _length_and_clustering(igraph.Graph(n, pairs[generator.choice(len(pairs), m, False)]))
        for _ in range(samples)
    ]
    length, clustering = np.mean(drawn, axis=0)
    return float(length), float(clustering)
