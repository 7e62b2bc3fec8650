"""The graph analysis: the metrics of graphs at every step of real runs."""

from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import xarray as xr
from networkx.algorithms import bipartite

from mechgrok.analyses import graph
from mechgrok.analyses.measures.graphs import NeuronGraph
from mechgrok.analyses.measures.masks import kept_edges
from mechgrok.configuration.run_config import RunConfig
from mechgrok.errors import UserError
from mechgrok.runs import Run
from mechgrok.runs.parquet import read_parquet, write_parquet
from mechgrok.training import train

RUNS = ("tiny_run", "tiny_transformer_run", "masked_run")


@pytest.fixture(params=RUNS)
def run(request: pytest.FixtureRequest) -> Run:
    found: Run = request.getfixturevalue(request.param)
    return found


def test_the_neuron_graph_at_a_step_is_networkxs(run: Run):
    step = run.steps[1]
    at = graph.measure(run, rate=0.7).sel(step=step)
    reference = nx.from_scipy_sparse_array(
        NeuronGraph(kept_edges(run.checkpoint(step), 0.7), run.wiring).adjacency
    )
    lengths = [
        d
        for source, to in nx.all_pairs_shortest_path_length(reference)
        for target, d in to.items()
        if source != target
    ]
    assert float(at.path_length) == pytest.approx(np.mean(lengths))
    assert int(at.diameter) == max(lengths)
    assert int(at.components) == nx.number_connected_components(reference)
    assert int(at.isolated) == nx.number_of_isolates(reference)
    expected = bipartite.robins_alexander_clustering(reference)
    assert float(at.clustering) == pytest.approx(expected)
    assert at.degree.to_numpy().tolist() == [degree for _, degree in reference.degree]


def test_layers_are_measured_each_by_its_own_matrix(run: Run):
    step = run.steps[-1]
    at = graph.measure(run).sel(step=step)
    saved = run.checkpoint(step)
    kept = kept_edges(saved)
    for name in at.weight.to_numpy().tolist():
        mask = run.wiring.matrix(name, kept[name]).double().numpy()
        weight = np.abs(run.wiring.matrix(name, saved.weights[name]).double().numpy()) * mask
        layer = at.sel(weight=name)
        values = np.linalg.svd(mask, compute_uv=False)
        weighted = np.linalg.svd(weight, compute_uv=False)
        assert float(layer.density) == pytest.approx(mask.mean())
        assert float(layer.spectral_gap) == pytest.approx(values[0] - values[1])
        assert float(layer.weighted_spectral_gap) == pytest.approx(weighted[0] - weighted[1])
        d = 2 * mask.sum() / sum(mask.shape)
        expected = 2 * np.sqrt(max(d - 1, 0)) - values[1]
        assert float(layer.ramanujan_gap.sel(bound="regular")) == pytest.approx(expected)


def test_a_masked_run_has_one_graph_and_a_dense_run_has_many(tiny_run: Run, masked_run: Run):
    masked, dense = graph.measure(masked_run), graph.measure(tiny_run)
    assert len(set(masked.path_length.to_numpy())) == len(set(masked.clustering.to_numpy())) == 1
    assert (masked.degree == masked.degree[0]).all()
    assert not (dense.degree == dense.degree[0]).all()
    assert masked.attrs["edges"] == "the run's mask"


def test_the_accuracy_beside_it_is_the_runs(tiny_run: Run):
    dataset = graph.measure(tiny_run)
    table = tiny_run.metrics.set_index("step").test_accuracy
    assert dataset.test_accuracy.to_numpy().tolist() == table[tiny_run.steps].tolist()


def test_everything_kept_makes_paths_as_short_as_can_be(tiny_run: Run):
    """In a complete layered graph a pair is as far apart as its layers, or 2 apart in one layer."""
    at = graph.measure(tiny_run, rate=0.0, steps=[60]).isel(step=0)
    sizes = np.array([7, 12, 8, 12, 7])
    layer = np.repeat(np.arange(5), sizes)
    distance = np.abs(layer[:, None] - layer).astype(float)
    distance[distance == 0] = 2
    np.fill_diagonal(distance, 0)
    n = len(layer)
    assert float(at.path_length) == pytest.approx(distance.sum() / (n * (n - 1)))
    assert (int(at.diameter), int(at.components)) == (4, 1)
    # Four-cycles close every path within a layer, but none that runs through three of them.
    assert at.layer_clustering.to_numpy().tolist() == [1, 1, 1, 1]
    assert float(at.clustering) < 1


def test_pictured_edges_are_the_strongest_and_join_the_units_they_belong_to(run: Run):
    dataset = graph.measure(run, pictures=1, strongest=5)
    step = int(dataset.picture[0])
    saved = run.checkpoint(step)
    kept = kept_edges(saved)
    group = dataset.group.to_numpy()
    for name in dataset.weight.to_numpy().tolist():
        at = dataset.sel(picture=step, weight=name)
        matrix = run.wiring.matrix(name, saved.weights[name] * kept[name])
        strongest = matrix.flatten()[matrix.abs().flatten().argsort(descending=True)[:5]]
        assert at.edge_weight.to_numpy().tolist() == strongest.tolist()
        for value, source, target in zip(
            at.edge_weight, at.edge_source, at.edge_target, strict=True
        ):
            row = int(source) - int(np.argmax(group == group[int(source)]))
            column = int(target) - int(np.argmax(group == group[int(target)]))
            assert float(matrix[row, column]) == float(value)


def test_relational_graphs_are_averaged_over_partitions(tiny_run: Run):
    kinds = {n: graph.measure(tiny_run, steps=[60], partitions=n) for n in (0, 1, 10)}
    assert kinds[10].attrs["nodes"] == 8  # the narrowest layer has 8 neurons, not 32
    values = [float(kinds[n].relational_path_length[0]) for n in kinds]
    assert len(set(values)) == 3
    again = graph.measure(tiny_run, steps=[60], partitions=10)
    xr.testing.assert_identical(again, kinds[10])


def test_a_picture_holds_no_more_edges_than_a_matrix_has(tiny_run: Run):
    dataset = graph.measure(tiny_run, steps=[60], partitions=0, strongest=10**12)
    assert dataset.sizes["rank"] == 12 * 8


def test_vectors_and_one_output_make_a_graph_too(tmp_path: Path):
    fields = {
        "task": {"name": "parity", "n": 8, "k": 2, "samples": 100},
        "model": {"kind": "mlp", "d_model": None, "d_mlp": 6, "n_layers": 2, "bias": True},
        "training": {"steps": 2},
    }
    parity = train(tmp_path / "parity", RunConfig.make(**fields))
    dataset = graph.measure(parity, pictures=0)
    assert dataset.sizes["unit"] == 8 + 6 + 6 + 1
    assert dataset.weight.to_numpy().tolist() == ["W_in", "W_hidden_1", "W_out"]
    assert not graph.draw({"parity": dataset}).frames


def test_it_is_kept_drawn_and_put_in_words(run: Run, tmp_path: Path):
    dataset = graph.measure(run, pictures=2)
    write_parquet(dataset, tmp_path / "kept.parquet")
    xr.testing.assert_identical(read_parquet(tmp_path / "kept.parquet"), dataset)
    assert "relational graph of" in graph.finding(dataset)
    figure = graph.draw({"one": dataset}, bound="printed")
    assert [frame.name for frame in figure.frames] == [str(step) for step in dataset.picture.values]
    lines = {tuple(trace.y) for trace in figure.data if trace.name == "one"}
    assert tuple(dataset.path_length.to_numpy().astype("float32")) in lines
    printed = dataset.ramanujan_gap.sel(bound="printed").mean("weight")
    means = [trace for trace in figure.data if "mean of layers" in (trace.hovertemplate or "")]
    np.testing.assert_allclose(means[-1].y, printed, rtol=1e-6)


def test_runs_of_different_shape_are_drawn_side_by_side(tiny_run: Run, tiny_transformer_run: Run):
    measured = {
        "mlp": graph.measure(tiny_run, pictures=2),
        "transformer": graph.measure(tiny_transformer_run, pictures=2),
    }
    figure = graph.draw(measured)
    below = {
        text
        for axis in figure.select_xaxes()
        if axis.ticktext
        for text in axis.ticktext
        if not text[0].isdigit()
    }
    beside = {trace.text[0].strip() for trace in figure.data if trace.mode == "text"}
    assert below == {"inputs", "resid_pre", "neurons", "mlp_out", "outputs", "resid"}
    assert beside == {"inputs", "positions", "queries", "keys", "heads", "neurons", "outputs"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": -0.1}, "rate"),
        ({"density": 0.0}, "density"),
        ({"nodes": 1}, "nodes"),
        ({"partitions": -1}, "partitions = -1"),
        ({"partitions": 10**9}, r"[\d,.]+ hours"),
        ({"strongest": 0}, "strongest = 0"),
    ],
)
def test_impossible_options_are_refused(tiny_run: Run, options: dict, message: str):
    with pytest.raises(UserError, match=message):
        graph.measure(tiny_run, **options)


def test_steps_measured_together_are_measured_as_each_alone(tiny_run: Run):
    together = graph.measure(tiny_run, pictures=0)
    for step in tiny_run.steps[:3]:
        alone = graph.measure(tiny_run, steps=[step], pictures=0)
        xr.testing.assert_equal(alone, together.sel(step=[step]))


def test_a_relational_graph_of_a_fixed_density_has_as_many_edges_and_of_a_fixed_threshold_has_not(
    tiny_run: Run,
):
    by_density = graph.measure(tiny_run, nodes=6, density=0.5, partitions=0, pictures=0)
    fixed = graph.measure(
        tiny_run, nodes=6, density=0.5, partitions=0, pictures=0, relational="threshold"
    )
    first = next(i for i, step in enumerate(tiny_run.steps) if step >= (tiny_run.t_mem or 0))
    same, other = by_density.relational_path_length, fixed.relational_path_length
    assert float(other[first]) == pytest.approx(float(same[first]))
    assert not np.allclose(other, same)


def test_a_weighted_relational_graph_of_equal_weights_is_complete(tiny_run: Run):
    dataset = graph.measure(tiny_run, relational="weighted", nodes=4, pictures=0)
    assert (dataset.relational_path_length >= 1).all()
    assert dataset.random_relational_clustering.isnull().all()
    assert dataset.attrs["relational"] == "all pairs, by their weights"


def test_edges_above_a_size_are_the_weights_of_that_size(tiny_run: Run):
    dataset = graph.measure(tiny_run, above=0.1, pictures=0)
    for step in tiny_run.steps:
        saved = tiny_run.checkpoint(step).weights
        for name in dataset.weight.to_numpy().tolist():
            share = float((saved[name].abs() > 0.1).float().mean())
            assert float(dataset.density.sel(step=step, weight=name)) == pytest.approx(share)
    with pytest.raises(UserError, match="--above 0 or more"):
        graph.measure(tiny_run, above=-1)


def test_signs_count_in_the_signed_gap(tiny_run: Run):
    at = graph.measure(tiny_run, above=0, pictures=0).isel(step=-1)
    weight = tiny_run.checkpoint(-1).weights["W_in"].double().numpy()
    values = np.linalg.svd(weight, compute_uv=False)
    gap = float(at.signed_spectral_gap.sel(weight="W_in"))
    assert gap == pytest.approx(values[0] - values[1], abs=1e-6)
