"""Activations and attention over the grid of all pairs."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mechgrok.analyses import activations
from mechgrok.analyses.measures.neurons import distinct_first
from mechgrok.errors import UserError
from mechgrok.runs import Run
from mechgrok.runs.parquet import read_parquet, write_parquet
from mechgrok.tasks import make_task
from mechgrok.tasks.harmonics import harmonics
from tests.analyses.handmade import handmade_run, waves


def test_activations_of_an_mlp_are_its_formula(tiny_run: Run) -> None:
    measured = activations.measure(tiny_run, neurons=8)
    table = tiny_run.input_side([60])[0].numpy()
    for neuron in range(8):
        expected = np.maximum(table[:, None, neuron] + table[None, :, neuron], 0)
        got = measured.activation.sel(step=60, shown=neuron)
        np.testing.assert_allclose(got, expected, atol=1e-5)
        assert float(measured.variance.sel(step=60, neuron=neuron)) == pytest.approx(
            expected.var(), rel=1e-4, abs=1e-9
        )
    np.testing.assert_allclose(
        measured.push.sel(step=60), tiny_run.output_side([60])[0][measured.shown.values.tolist()]
    )


def test_the_transform_is_numpys(tiny_run: Run) -> None:
    measured = activations.measure(tiny_run, steps=[60])
    for shown in measured.shown.values:
        one = measured.isel(step=0).sel(shown=shown)
        spectrum = np.abs(np.fft.fft2(one.activation)) / 49
        for i in one.i.values:
            for j in one.j.values:
                assert float(one.transform.sel(i=i, j=j)) == pytest.approx(spectrum[i, j], abs=1e-5)


def test_a_neuron_of_one_frequency_is_explained_by_it(tmp_path: Path) -> None:
    # Far above its threshold a ReLU does nothing, and the activation is the wave itself.
    W_in = 5 + waves(11, [3, 2], [0.4, 1.0])
    run = handmade_run(tmp_path / "run", W_in, torch.ones(2, 11), name="add", p=11)
    at = activations.measure(run).isel(step=0)
    assert at.frequency_of.values.tolist() == [3, 2]
    np.testing.assert_allclose(at.explained, 1, atol=1e-5)


def test_a_neuron_that_never_fires_explains_nothing_and_breaks_nothing(tmp_path: Path) -> None:
    W_in = torch.cat([5 + waves(11, [3], [0.4]), -torch.ones(11, 2)], dim=1)
    run = handmade_run(tmp_path / "run", W_in, torch.ones(3, 11), name="add", p=11)
    measured = activations.measure(run, neurons=3)
    assert measured.variance[0, 1:].values.tolist() == [0, 0]
    assert np.isnan(measured.explained[0, 1:]).all()
    assert "explains 100%" in activations.finding(measured)
    assert activations.draw({"run": measured}).data


def test_shown_neurons_are_the_most_active_one_of_each_frequency_first() -> None:
    falling, frequency = [1, 2, 3, 0], [5, 3, 3, 4]
    assert distinct_first(falling, frequency, 3) == [1, 3, 0]
    assert distinct_first(falling, frequency, 9) == [1, 3, 0, 2]


def test_no_neuron_is_nothing_to_show(tiny_run: Run) -> None:
    with pytest.raises(UserError, match="neurons = 0"):
        activations.measure(tiny_run, neurons=0)


def test_attention_is_that_of_the_model(tiny_transformer_run: Run) -> None:
    run = tiny_transformer_run
    measured = activations.measure(run, steps=[40]).isel(step=0)
    _, cache = run.model(40).run_with_cache(torch.tensor([[2, 5]]))
    pattern = cache["blocks.0.attn.hook_pattern"][0, :, -1]
    got = measured.attention.sel(a=2, b=5)
    np.testing.assert_allclose(got, pattern.detach(), atol=1e-5)
    # Two tokens, nothing else to attend to.
    np.testing.assert_allclose(measured.attention.sum("source"), 1, atol=1e-5)
    assert float(measured.head_share.sum("frequency").max()) <= 1 + 1e-6


def test_a_product_is_shown_in_logarithms(tmp_path: Path) -> None:
    order = [3**exponent % 7 for exponent in range(6)]
    W_in = torch.zeros(7, 1, dtype=torch.float64)
    W_in[order] = 5 + waves(6, [2], [0.4])
    run = handmade_run(tmp_path / "run", W_in, torch.ones(1, 7), name="mul", p=7)
    measured = activations.measure(run)
    assert measured.a.values.tolist() == order
    assert float(measured.explained[0, 0]) == pytest.approx(1, abs=1e-5)


def test_activations_survive_a_file_and_are_drawn_for_two_runs(
    tiny_run: Run, tiny_transformer_run: Run, tmp_path: Path
) -> None:
    measured = {
        "mlp": activations.measure(tiny_run),
        "transformer": activations.measure(tiny_transformer_run),
    }
    for label, dataset in measured.items():
        write_parquet(dataset, tmp_path / f"{label}.parquet")
        assert read_parquet(tmp_path / f"{label}.parquet").identical(dataset)
    figure = activations.draw(measured)
    stops = [int(frame.name) for frame in figure.frames]
    assert stops == sorted(stops)
    assert (stops[0], stops[-1]) == (0, 60)
    assert all(len(frame.data) < len(figure.data) for frame in figure.frames)


def test_a_task_without_two_operands_has_no_grid(tiny_run: Run) -> None:
    other = Run(tiny_run.path)
    other.config = tiny_run.config.model_copy(update={"task": make_task("multitask")})
    assert "not one operation on two residues" in str(activations.applies(other))


def test_on_a_cyclic_group_its_name_makes_no_difference(tmp_path: Path) -> None:
    W_in = 5 + waves(11, [3, 2], [0.4, 1.0])
    of = {
        name: activations.measure(handmade_run(tmp_path / name, W_in, torch.ones(2, 11), **task))
        for name, task in {
            "residues": {"name": "add", "p": 11, "pairs": "ordered"},
            "group": {"name": "group", "group": "C11"},
        }.items()
    }
    assert of["group"].equals(of["residues"])


def test_a_neuron_of_one_representation_is_explained_by_it(tmp_path: Path) -> None:
    parts = harmonics(make_task("group", group="S4"))
    assert parts.names[1] == "sign"
    # Far above its threshold a ReLU gives what it is given: an entry of ρ(a) and of ρ(b).
    W_in = 5 + torch.stack([parts.basis(parts.names.index("standard"))[:, 4], parts.basis(1)[:, 0]])
    run = handmade_run(tmp_path / "run", W_in.T, torch.ones(2, 24), name="group", group="S4")
    measured = activations.measure(run)
    at = measured.isel(step=0)
    named = at.representation.values[at.frequency_of.values].tolist()
    assert named == ["standard", "sign"]
    np.testing.assert_allclose(at.explained, 1, atol=1e-5)
    # All of it is a function of a plus a function of b: nothing stands in a product of the two.
    power = np.square(at.transform.sel(shown=0, i=slice(1, None), j=slice(1, None)))
    assert float(power.sum()) == pytest.approx(0, abs=1e-9)
    total = float(np.square(at.transform).sum(("i", "j")).sel(shown=0))
    assert total == pytest.approx(float(np.square(at.activation.sel(shown=0)).mean()), rel=1e-5)


def test_a_group_is_drawn_by_the_names_of_its_elements(group_run: Run) -> None:
    measured = activations.measure(group_run)
    figure = activations.draw({"group": measured})
    pictures = [trace for trace in figure.data if trace.type == "heatmap"]
    elements = group_run.task.structure.elements
    assert list(pictures[0].x) == list(elements)
    assert "ρ = " in " ".join(note.text for note in figure.layout.annotations)
    assert "one representation explains" in activations.finding(measured)
