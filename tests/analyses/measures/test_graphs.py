"""Graphs of networks: cases worked out by hand, and networkx on random graphs."""

import math

import networkx as nx
import numpy as np
import pytest
import torch
from networkx.algorithms import bipartite

from mechgrok.analyses.measures.graphs import (
    NeuronGraph,
    average_path_length,
    four_cycle_clustering,
    pairs_at_distance,
    ramanujan_bound,
    ramanujan_gap,
    spectral_gap,
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
from mechgrok.errors import UserError
from mechgrok.masks import Mask
from mechgrok.models import HookedMLP, HookedTransformer, MLPConfig, TransformerConfig, raw_weights
from mechgrok.models.wiring import chain
from mechgrok.runs.checkpoint import Checkpoint


def random_mask(*shape: int, density: float = 0.4, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < density


def mlp_mask(density: float = 0.3, seed: int = 0) -> Mask:
    """A random mask of a network with groups of 7, 20, 5, 20 and 7 units."""
    shapes = {"W_out": (5, 20), "W_E": (7, 20), "W_U": (20, 7), "W_in": (20, 5)}
    return Mask(
        {
            n: random_mask(*s, density=density, seed=seed + i)
            for i, (n, s) in enumerate(shapes.items())
        }
    )


#: How that network is wired.
MLP = HookedMLP.wire(MLPConfig(d_model=20, d_mlp=5), d_vocab=7, n_ctx=2, d_output=7)


def as_networkx(graph: NeuronGraph) -> nx.Graph:
    return nx.from_scipy_sparse_array(graph.adjacency)


# --- spectra ------------------------------------------------------------------------------------


def test_a_complete_bipartite_layer_has_one_singular_value():
    kept = torch.ones(6, 8, dtype=torch.bool)
    torch.testing.assert_close(
        top_singular_values(kept), torch.tensor([48**0.5, 0.0], dtype=torch.float64)
    )
    assert float(spectral_gap(kept)) == pytest.approx(48**0.5)
    assert float(ramanujan_gap(kept)) == pytest.approx(7**0.5 + 5**0.5)


def test_two_separate_blocks_do_not_mix():
    kept = torch.block_diag(torch.ones(3, 3), torch.ones(3, 3)).bool()
    assert float(spectral_gap(kept)) == pytest.approx(0, abs=1e-12)
    assert float(ramanujan_gap(kept)) == pytest.approx(2 * 2**0.5 - 3)


def test_bounds_by_hand():
    kept = torch.zeros(4, 6, dtype=torch.bool)
    kept[:, :3] = True  # 12 edges: degrees 3 and 2 on average, 2.4 over both sides
    assert float(ramanujan_bound(kept, "biregular")) == pytest.approx(2**0.5 + 1)
    assert float(ramanujan_bound(kept, "regular")) == pytest.approx(2 * 1.4**0.5)
    assert float(ramanujan_bound(kept, "printed")) == pytest.approx(3.8**0.5)
    assert float(ramanujan_bound(torch.zeros(4, 6, dtype=torch.bool))) == 0


def test_the_biregular_and_the_regular_bound_agree_on_a_regular_graph():
    kept = torch.eye(9).bool() | torch.eye(9).roll(1, 0).bool() | torch.eye(9).roll(4, 0).bool()
    assert float(ramanujan_bound(kept)) == pytest.approx(float(ramanujan_bound(kept, "regular")))


def test_singular_values_are_those_of_the_adjacency_matrix():
    weight = torch.randn(9, 14).abs() * random_mask(9, 14)
    adjacency = np.block(
        [[np.zeros((9, 9)), weight.numpy()], [weight.numpy().T, np.zeros((14, 14))]]
    )
    magnitudes = np.sort(np.abs(np.linalg.eigvalsh(adjacency)))[::-1]
    first, second = top_singular_values(weight).tolist()
    np.testing.assert_allclose([first, first, second, second], magnitudes[:4], rtol=1e-5)


def test_spectra_of_a_stack_are_those_of_its_layers():
    kept = random_mask(5, 8, 6)
    for gap in (spectral_gap, ramanujan_gap, four_cycle_clustering):
        torch.testing.assert_close(gap(kept), torch.stack([gap(each) for each in kept]))


# --- four-cycles --------------------------------------------------------------------------------


def test_four_cycle_clustering_by_hand():
    square = torch.ones(2, 2, dtype=torch.bool)
    assert float(four_cycle_clustering(square)) == 1
    path = torch.tensor([[1, 0], [1, 1]], dtype=torch.bool)
    assert float(four_cycle_clustering(path)) == 0
    # A square and one edge more at a corner: 4 paths within the square, 2 that leave it.
    corner = torch.tensor([[1, 1, 1], [1, 1, 0]], dtype=torch.bool)
    assert float(four_cycle_clustering(corner)) == pytest.approx(4 / 6)
    star = torch.ones(1, 5, dtype=torch.bool)
    assert math.isnan(float(four_cycle_clustering(star)))


@pytest.mark.parametrize("shape", [(8, 11), (11, 8), (3, 20)])
def test_four_cycle_clustering_is_robins_and_alexanders(shape: tuple[int, int]):
    kept = random_mask(*shape, density=0.5, seed=1)
    graph = nx.Graph([(i, shape[0] + j) for i, j in kept.nonzero().tolist()])
    expected = bipartite.robins_alexander_clustering(graph)
    assert float(four_cycle_clustering(kept)) == pytest.approx(expected)


# --- the neuron graph ---------------------------------------------------------------------------


@pytest.mark.parametrize("density", [0.05, 0.15, 0.4, 1.0])
def test_the_neuron_graph_measures_what_networkx_measures(density: float):
    graph = NeuronGraph(mlp_mask(density, seed=3), MLP)
    reference = as_networkx(graph)
    n = reference.number_of_nodes()
    distances = [
        distance
        for source, to in nx.all_pairs_shortest_path_length(reference)
        for target, distance in to.items()
        if source != target
    ]
    assert graph.average_path_length == pytest.approx(np.mean(distances))
    assert graph.diameter == max(distances)
    assert graph.connected_share == pytest.approx(len(distances) / (n * (n - 1)))
    assert graph.n_components == nx.number_connected_components(reference)
    assert graph.clustering == pytest.approx(bipartite.robins_alexander_clustering(reference))
    assert graph.degrees.tolist() == [degree for _, degree in reference.degree]
    assert sum(nx.triangles(reference).values()) == 0


def test_a_transformers_graph_measures_what_networkx_measures():
    config = TransformerConfig(d_model=12, n_heads=3, d_mlp=10)
    model = HookedTransformer(config, d_vocab=7, n_ctx=2, d_output=5)
    weights = {name: w.detach() for name, w in raw_weights(model).items()}
    kept = kept_edges(Checkpoint(0, weights), rate=0.8)
    graph = NeuronGraph(kept, model.wiring)
    reference = as_networkx(graph)
    # Units that read a residual dimension and write to it have one edge to it.
    attn, mlp = "blocks.0.attn", "blocks.0.mlp"
    W_V, W_O = (model.wiring.matrix(name, kept[name]) for name in (f"{attn}.W_V", f"{attn}.W_O"))
    both = int((W_V & W_O.T).sum() + (kept[f"{mlp}.W_in"] & kept[f"{mlp}.W_out"].T).sum())
    assert both > 0
    assert reference.number_of_nodes() == 7 + 2 + 12 + 3 * 12 + 10 + 5
    assert reference.number_of_edges() == kept.n_kept - both
    assert graph.clustering == pytest.approx(bipartite.robins_alexander_clustering(reference))
    giant = reference.subgraph(max(nx.connected_components(reference), key=len))
    assert graph.diameter == nx.diameter(giant)


def test_path_lengths_of_a_complete_bipartite_layer():
    # m · n pairs are 1 apart, those on one side 2.
    mask = Mask({"W_in": torch.ones(4, 6, dtype=torch.bool), "W_out": torch.zeros(6, 3).bool()})
    graph = NeuronGraph(mask, chain({"W_in": (4, 6), "W_out": (6, 3)}))
    assert graph.pairs_at_distance.tolist() == [13, 2 * 4 * 6, 4 * 3 + 6 * 5]
    assert graph.average_path_length == pytest.approx((48 + 2 * 42) / 90)
    assert (graph.diameter, graph.n_components) == (2, 4)


def test_a_graph_without_edges_has_no_paths():
    mask = Mask({"W_in": torch.zeros(2, 3).bool(), "W_out": torch.zeros(3, 2).bool()})
    graph = NeuronGraph(mask, chain({"W_in": (2, 3), "W_out": (3, 2)}))
    assert math.isnan(graph.average_path_length)
    assert math.isnan(graph.clustering)
    assert (graph.diameter, graph.connected_share, graph.n_components) == (0, 0.0, 7)


@pytest.mark.parametrize("n", [2, 63, 64, 65, 200])
def test_distances_along_a_path_and_around_a_ring(n: int):
    path = pairs_at_distance(nx.to_scipy_sparse_array(nx.path_graph(n)))
    assert path.tolist() == [n, *(2 * (n - d) for d in range(1, n))]
    assert average_path_length(path) == pytest.approx((n + 1) / 3)


def test_distances_do_not_depend_on_how_units_are_numbered():
    mask = mlp_mask(0.2, seed=5)
    order = torch.randperm(5, generator=torch.Generator().manual_seed(1))
    renumbered = Mask({**mask, "W_in": mask["W_in"][:, order], "W_out": mask["W_out"][order]})
    assert (
        NeuronGraph(mask, MLP).pairs_at_distance.tolist()
        == NeuronGraph(renumbered, MLP).pairs_at_distance.tolist()
    )
    assert NeuronGraph(mask, MLP).clustering == pytest.approx(
        NeuronGraph(renumbered, MLP).clustering
    )


# --- the relational graph -----------------------------------------------------------------------


def test_relational_weights_by_hand():
    # Inputs (0, 1), neurons (0, 1), one output: with two nodes, unit u of two belongs to node u.
    weights = {
        "W_in": torch.tensor([[1.0, -2.0], [0.5, 0.0]]),
        "W_out": torch.tensor([[4.0], [8.0]]),
    }
    # Across: |−2| + 0.5 through W_in; the output is node 0's, so neuron 1 sends it 8.
    assert relational_weights(weights, 2, chain({"W_in": (2, 2), "W_out": (2, 1)})).tolist() == [
        [0, 10.5],
        [10.5, 0],
    ]


def test_relational_weights_sum_blocks_of_units():
    generator = torch.Generator().manual_seed(0)
    weights = {
        "W_in": torch.randn(6, 4, generator=generator),
        "W_out": torch.randn(4, 9, generator=generator),
    }
    expected = np.zeros((3, 3))
    for (n_in, n_out), weight in zip([(6, 4), (4, 9)], weights.values(), strict=True):
        for u in range(n_in):
            for v in range(n_out):
                i, j = u * 3 // n_in, v * 3 // n_out
                if i != j:
                    expected[i, j] += abs(float(weight[u, v]))
                    expected[j, i] += abs(float(weight[u, v]))
    wiring = chain({"W_in": (6, 4), "W_out": (4, 9)})
    np.testing.assert_allclose(relational_weights(weights, 3, wiring), expected, rtol=1e-5)


def test_shuffling_units_moves_weight_but_loses_none():
    weights = {name: mask.float() for name, mask in mlp_mask().items()}
    one, other = (relational_weights(weights, 5, MLP, seed=seed) for seed in (0, 1))
    assert not np.allclose(one, other)
    assert np.array_equal(one, relational_weights(weights, 5, MLP, seed=0))
    assert (one == one.T).all()


def test_a_relational_graph_keeps_the_strongest_pairs():
    strength = np.array([[0, 5, 1, 0], [5, 0, 3, 2], [1, 3, 0, 0], [0, 2, 0, 0]], dtype=float)
    assert set(relational_graph(strength, 0.5).get_edgelist()) == {(0, 1), (1, 2), (1, 3)}
    assert relational_graph(strength, 1.0).ecount() == 4  # pairs of weight 0 are never joined


@pytest.mark.parametrize("density", [0.1, 0.3, 0.6])
def test_relational_metrics_are_networkxs(density: float):
    strength = np.random.default_rng(0).random((20, 20))
    graph = relational_graph(strength + strength.T, density)
    reference = nx.Graph(graph.get_edgelist())
    reference.add_nodes_from(range(20))
    found = small_world(graph)
    assert found.clustering == pytest.approx(nx.average_clustering(reference))
    lengths = [
        d
        for source, to in nx.all_pairs_shortest_path_length(reference)
        for target, d in to.items()
        if source != target
    ]
    assert found.path_length == pytest.approx(np.mean(lengths))


def test_a_random_graph_is_no_small_world_and_a_rewired_ring_is_one():
    import igraph

    def index(graph: nx.Graph) -> float:
        return small_world(igraph.Graph(60, list(graph.edges))).small_world_index

    plain = np.mean([index(nx.gnm_random_graph(60, 240, seed=seed)) for seed in range(20)])
    assert plain == pytest.approx(1, abs=0.1)
    assert index(nx.watts_strogatz_graph(60, 8, 0.05, seed=1)) > 2


def test_random_graphs_are_as_clustered_as_they_are_dense():
    graph = relational_graph(np.random.default_rng(0).random((40, 40)), 0.3)
    assert small_world(graph).random_clustering == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("nodes", [1, 6])
def test_more_nodes_than_neurons_are_refused(nodes: int):
    weights = {name: mask.float() for name, mask in mlp_mask().items()}
    with pytest.raises(UserError, match=r"2 .*5"):
        relational_weights(weights, nodes, MLP)


@pytest.mark.parametrize("density", [0.0, 1.5])
def test_impossible_densities_are_refused(density: float):
    with pytest.raises(UserError, match=r"\(0, 1\]"):
        relational_graph(np.ones((4, 4)), density)


def test_weighted_clustering_is_onnelas_and_lengths_are_dijkstras():
    generator = np.random.default_rng(0)
    strength = generator.random((7, 7)) * (generator.random((7, 7)) < 0.7)
    strength = np.triu(strength, 1) + np.triu(strength, 1).T
    length, clustering = weighted_world(strength)
    reference = nx.from_numpy_array(strength)
    assert clustering == pytest.approx(
        np.mean(list(nx.clustering(reference, weight="weight").values()))
    )
    for _, _, edge in reference.edges(data=True):
        edge["length"] = 1 / edge["weight"]
    mean = strength[np.triu_indices(7, 1)].mean()
    expected = mean * nx.average_shortest_path_length(reference, weight="length")
    assert length == pytest.approx(expected)


def test_the_threshold_of_a_density_joins_that_share_of_pairs():
    strength = np.random.default_rng(0).random((9, 9))
    strength = strength + strength.T
    for density in (0.1, 0.5, 1):
        threshold = threshold_of(strength, density)
        assert relational_graph_above(strength, threshold).ecount() == round(density * 36)
