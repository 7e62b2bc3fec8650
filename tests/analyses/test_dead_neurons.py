"""Dead neurons: who they are by hand, and knock-outs against the hooked model itself."""

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from mechgrok.analyses import dead_neurons
from mechgrok.analyses.measures.masks import kept_edges
from mechgrok.analyses.measures.neurons import Census, dead_since
from mechgrok.configuration.run_config import RunConfig
from mechgrok.errors import UserError
from mechgrok.interventions import Ablate, Network
from mechgrok.masks import Mask, apply_mask
from mechgrok.models import raw_weights
from mechgrok.models.wiring import chain
from mechgrok.runs import Run
from mechgrok.runs.checkpoint import Checkpoint
from mechgrok.runs.parquet import read_parquet, write_parquet
from mechgrok.training import train

RUNS = ("tiny_run", "tiny_transformer_run", "masked_run")


@pytest.fixture(scope="session")
def ticket_with_dead_neurons(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A masked run whose neurons 1 and 4 have no input edge; neuron 4 keeps its output edges."""
    theta = {name: w.detach() for name, w in raw_weights(tiny_run.model(0)).items()}
    mask = Mask.full(theta)
    mask["W_in"][:, [1, 4]] = False
    mask["W_out"][1] = False
    start = Checkpoint(0, {name: w * mask[name] for name, w in theta.items()}, mask)
    path: Path = tmp_path_factory.mktemp("runs") / "dead"
    fields = tiny_run.config.model_dump(exclude={"versions"})
    return train(path, RunConfig.make(**fields), start=start)


# --- who is dead --------------------------------------------------------------------------------


def test_a_neuron_without_input_edges_is_dead(ticket_with_dead_neurons: Run):
    dataset = dead_neurons.measure(ticket_with_dead_neurons)
    assert dataset.unconnected.any("step").to_numpy().nonzero()[0].tolist() == [1, 4]
    assert dataset.dead.sum("neuron").to_numpy().tolist() == [2] * len(dataset.step)
    assert dataset.died.to_numpy().tolist() == [-1, 0, -1, -1, 0, -1, -1, -1]
    # Each living neuron has 12 edges in and 12 out; of the dead only neuron 4 has, 12 out.
    assert float(dataset.edge_share[0]) == pytest.approx(12 / (6 * 24 + 12))


def test_a_neuron_whose_weights_have_shrunk_is_dead():
    W_in = torch.tensor([[3.0, 0.0, 0.01], [4.0, 0.0, 0.0]])
    saved = Checkpoint(0, {"W_in": W_in, "W_out": torch.ones(3, 2)})
    norm, unconnected, edges = Census.of(
        saved, Mask.full(saved.weights), chain({"W_in": (2, 3), "W_out": (3, 2)}).hidden[0]
    )
    np.testing.assert_allclose(norm, [5, 0, 0.01], rtol=1e-6)
    assert not unconnected.any()
    assert edges.tolist() == [4, 4, 4]


def test_input_norms_are_those_of_the_folded_input_side(masked_run: Run):
    dataset = dead_neurons.measure(masked_run)
    expected = masked_run.input_side().norm(dim=1)
    np.testing.assert_allclose(dataset.input_norm, expected, rtol=1e-5)


def test_the_last_death_counts_and_the_revived_are_alive():
    dead = np.array([[1, 0, 0, 1], [0, 1, 0, 1], [0, 1, 1, 1]], dtype=bool)
    assert dead_since(dead, [0, 10, 20]).tolist() == [-1, 10, 20, 0]


# --- knock-outs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*RUNS, "deep_run"])
def test_removing_a_neuron_is_exactly_what_a_hook_does(name: str, request: pytest.FixtureRequest):
    run: Run = request.getfixturevalue(name)
    dataset = dead_neurons.measure(run)
    step = run.steps[-1]
    model, task, neurons = run.model(step), run.task, run.wiring.hidden[-1]
    for side in ("train", "test"):
        inputs, labels = getattr(task, side)
        at = dataset.sel(knockout=step, side=side)
        for neuron in range(dataset.sizes["neuron"]):

            def silence(post: torch.Tensor, hook: object, neuron: int = neuron) -> torch.Tensor:
                post[..., neuron] = 0
                return post

            with torch.no_grad():
                outputs = model.run_with_hooks(inputs, fwd_hooks=[(neurons.hook, silence)])
            found = at.sel(neuron=neuron)
            assert float(found.loss_without) == pytest.approx(
                float(task.loss(outputs, labels)), rel=1e-5, abs=1e-6
            )
            assert float(found.accuracy_without) == pytest.approx(
                float(task.accuracy(outputs, labels)), abs=1e-9
            )


@pytest.mark.parametrize("name", RUNS)
def test_removing_a_frequency_is_removing_its_neurons(name: str, request: pytest.FixtureRequest):
    run: Run = request.getfixturevalue(name)
    dataset = dead_neurons.measure(run)
    step = run.steps[-1]
    network = Network(run, step)
    at = dataset.sel(knockout=step, side="test")
    frequency = at.frequency_of.to_numpy()
    dead = dataset.dead.sel(step=step).to_numpy()
    for omega in range(dataset.sizes["frequency"]):
        members = (frequency == omega) & ~dead
        loss = float(at.loss_without_frequency.sel(frequency=omega))
        if not members.any():
            assert np.isnan(loss)
            continue
        killed = network.under(Ablate(neurons=np.flatnonzero(members).tolist()))
        outputs = killed.outputs(run.task.test.inputs)
        assert loss == pytest.approx(float(run.task.loss(outputs, run.task.test.labels)), rel=1e-5)


def test_killing_the_dead_and_killing_nobody_change_nothing(ticket_with_dead_neurons: Run):
    dataset = dead_neurons.measure(ticket_with_dead_neurons)
    for name in ("accuracy", "loss"):
        whole = dataset[name].sel(state="whole")
        np.testing.assert_allclose(dataset[name].sel(state="killed"), whole, rtol=1e-6)
        np.testing.assert_allclose(
            dataset[f"{name}_without"].sel(neuron=[1, 4]),
            whole.expand_dims(neuron=2).transpose("knockout", "side", "neuron"),
            rtol=1e-6,
        )


def test_a_ticket_whose_pruned_weights_are_zero_revives_to_itself(ticket_with_dead_neurons: Run):
    dataset = dead_neurons.measure(ticket_with_dead_neurons)
    np.testing.assert_array_equal(
        dataset.loss.sel(state="revived"), dataset.loss.sel(state="whole")
    )
    np.testing.assert_array_equal(dataset.loss.sel(state="pruned"), dataset.loss.sel(state="whole"))


def test_a_dense_run_is_pruned_by_magnitude_and_revived_under_that_mask(tiny_run: Run):
    dataset = dead_neurons.measure(tiny_run, steps=[60], rate=0.95)
    assert dataset.unconnected.any()
    task, kept = tiny_run.task, kept_edges(tiny_run.checkpoint(60), 0.95)
    dead = dataset.dead.sel(step=60).to_numpy()
    revived = Mask({name: each.clone() for name, each in kept.items()})
    revived["W_in"][:, dead] = True
    revived["W_out"][dead] = True
    for state, mask in (("pruned", kept), ("revived", revived)):
        model = tiny_run.model(60)
        apply_mask(model, mask)
        with torch.no_grad():
            expected = float(task.loss(model(task.test.inputs), task.test.labels))
        found = dataset.loss.sel(knockout=60, side="test", state=state)
        assert float(found) == pytest.approx(expected, rel=1e-6)


def test_firing_is_the_share_of_all_examples_on_which_a_neuron_is_active(tiny_run: Run):
    dataset = dead_neurons.measure(tiny_run, steps=[0, 60])
    _, cache = tiny_run.model(60).run_with_cache(tiny_run.task.examples.inputs)
    active = (cache["blocks.0.mlp.hook_post"] > 0).double().mean(0)
    np.testing.assert_allclose(dataset.firing.sel(knockout=60), active)


# --- as an analysis -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*RUNS, "deep_run"])
def test_it_is_kept_drawn_and_put_in_words(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
):
    run: Run = request.getfixturevalue(name)
    dataset = dead_neurons.measure(run)
    write_parquet(dataset, tmp_path / "kept.parquet")
    xr.testing.assert_identical(read_parquet(tmp_path / "kept.parquet"), dataset)
    n = dataset.sizes["neuron"]
    assert f"of {n} neurons dead at step {run.steps[-1]}" in dead_neurons.finding(dataset)
    figure = dead_neurons.draw({name: dataset})
    assert [frame.name for frame in figure.frames] == [str(step) for step in run.steps]
    bars = next(trace for trace in figure.data if trace.type == "bar")
    cost = dataset.accuracy.sel(state="whole") - dataset.accuracy_without
    last = cost.sel(knockout=run.steps[-1], side="test").to_numpy()
    assert sorted(bars.y) == pytest.approx(sorted(last))


def test_runs_are_drawn_side_by_side(tiny_run: Run, masked_run: Run):
    measured = {run.name: dead_neurons.measure(run) for run in (tiny_run, masked_run)}
    figure = dead_neurons.draw(measured, side="train")
    titles = " ".join(note.text for note in figure.layout.annotations if note.text)
    assert all(f"{label}: input norm" in titles for label in measured)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 1.0}, "rate"),
        ({"tolerance": 1.5}, "tolerance"),
        ({"knockouts": 0}, "knockouts = 0"),
    ],
)
def test_impossible_options_are_refused(tiny_run: Run, options: dict, message: str):
    with pytest.raises(UserError, match=message):
        dead_neurons.measure(tiny_run, **options)


def test_every_state_has_a_dash_of_its_own(tiny_run: Run):
    figure = dead_neurons.draw({"tiny": dead_neurons.measure(tiny_run)})
    dashes = {
        state: {trace.line.dash for trace in figure.data if trace.name == f"tiny, {state}"}
        for state in dead_neurons.STATES
    }
    assert all(len(each) == 1 for each in dashes.values())
    assert len(set.union(*dashes.values())) == len(dead_neurons.STATES)
