"""Frequency entropy on the input side, on the output side and in the embedding."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mechgrok.analyses import entropy
from mechgrok.runs import Run
from mechgrok.runs.parquet import read_parquet, write_parquet
from mechgrok.tasks import make_task
from tests.analyses.handmade import handmade_run, waves


def by_definition(signals: np.ndarray, exponent: int) -> np.ndarray:
    """−Σ q ln q over ω = 1 … ⌊n/2⌋ for each row, with sums written out."""
    n = signals.shape[1]
    omega, x = np.arange(1, n // 2 + 1), np.arange(n)
    transform = signals @ np.exp(-2j * np.pi * np.outer(x, omega) / n)
    q = np.abs(transform) ** exponent
    q = q / q.sum(1, keepdims=True)
    return -(q * np.log(q)).sum(1)


@pytest.mark.parametrize(("spectrum", "exponent"), [("amplitude", 1), ("power", 2)])
def test_entropy_is_the_sum_in_its_definition(tiny_run: Run, spectrum: str, exponent: int) -> None:
    measured = entropy.measure(tiny_run, spectrum=spectrum, neurons="all")
    for step in tiny_run.steps:
        inputs = tiny_run.input_side([step])[0].numpy().T.astype(float)
        outputs = tiny_run.output_side([step])[0].numpy().astype(float)
        at = measured.sel(step=step)
        np.testing.assert_allclose(at.input_entropy_of, by_definition(inputs, exponent), rtol=1e-4)
        np.testing.assert_allclose(
            at.output_entropy_of, by_definition(outputs, exponent), rtol=1e-4
        )
        assert float(at.input_entropy) == pytest.approx(float(at.input_entropy_of.mean()))
        assert float(at.output_spread) == pytest.approx(float(at.output_entropy_of.std()))


def test_waves_have_entropy_0_and_a_pulse_that_of_a_flat_spectrum(tmp_path: Path) -> None:
    pulses = torch.eye(11)[:2]
    run = handmade_run(tmp_path / "run", waves(11, [2, 5], [0.1, 1.0]), pulses, name="add", p=11)
    at = entropy.measure(run).isel(step=0)
    assert float(at.input_entropy) == pytest.approx(0, abs=1e-4)
    assert float(at.output_entropy) == pytest.approx(np.log(5))
    assert at.attrs["flat"] == pytest.approx(np.log(5))
    assert "embedding_entropy" not in at


def test_the_spread_of_a_wave_and_a_pulse_is_half_their_difference(tmp_path: Path) -> None:
    W_in = torch.cat([waves(11, [2], [0.1]), torch.eye(11)[:, :1], torch.zeros(11, 1)], dim=1)
    run = handmade_run(tmp_path / "run", W_in, torch.ones(3, 11), name="add", p=11)
    assert float(entropy.measure(run).input_spread[0]) == pytest.approx(np.log(5) / 2, abs=1e-4)


def test_the_mean_leaves_dead_neurons_out_unless_told(tmp_path: Path) -> None:
    W_in = torch.cat(
        [waves(11, [2], [0.1]), 1e-6 * torch.eye(11)[:, :1], torch.zeros(11, 1)], dim=1
    )
    run = handmade_run(tmp_path / "run", W_in, torch.ones(3, 11), name="add", p=11)
    assert float(entropy.measure(run).input_entropy[0]) == pytest.approx(0, abs=1e-4)
    everyone = entropy.measure(run, neurons="all")
    assert float(everyone.input_entropy[0]) == pytest.approx(np.log(5) / 2, abs=1e-4)
    assert np.isnan(everyone.input_entropy_of[0, 2])


def test_the_order_of_neurons_makes_no_difference(tmp_path: Path) -> None:
    W_in, W_out = torch.randn(7, 5), torch.randn(5, 7)
    turned = torch.tensor([3, 0, 4, 1, 2])
    one = handmade_run(tmp_path / "one", W_in, W_out, name="add", p=7)
    other = handmade_run(tmp_path / "other", W_in[:, turned], W_out[turned], name="add", p=7)
    for name in ("input_entropy", "output_entropy"):
        np.testing.assert_allclose(
            entropy.measure(one)[name], entropy.measure(other)[name], rtol=1e-5
        )


def test_test_accuracy_is_that_of_the_metrics(tiny_run: Run) -> None:
    measured = entropy.measure(tiny_run)
    table = tiny_run.metrics.set_index("step").test_accuracy
    np.testing.assert_array_equal(measured.test_accuracy, table.loc[tiny_run.steps])


def test_a_run_that_was_never_evaluated_has_entropy_all_the_same(tmp_path: Path) -> None:
    run = handmade_run(tmp_path / "run", torch.randn(7, 3), torch.randn(3, 7), name="add", p=7)
    measured = entropy.measure(run)
    assert np.isnan(measured.test_accuracy).all()
    assert "test accuracy undefined" in entropy.finding(measured)
    assert entropy.draw({"run": measured}).data


def test_entropy_survives_a_file_and_is_drawn_for_two_runs(
    tiny_run: Run, tiny_transformer_run: Run, masked_run: Run, tmp_path: Path
) -> None:
    runs = {"mlp": tiny_run, "transformer": tiny_transformer_run, "masked": masked_run}
    measured = {label: entropy.measure(run) for label, run in runs.items()}
    write_parquet(measured["mlp"], tmp_path / "e.parquet")
    assert read_parquet(tmp_path / "e.parquet").identical(measured["mlp"])
    names = {trace.name for trace in entropy.draw(measured).data}
    assert set(runs) <= names


def test_the_entropy_of_a_part_of_the_steps_is_a_part_of_the_whole(tiny_run: Run) -> None:
    assert entropy.PER_STEP
    part, whole = entropy.measure(tiny_run, steps=[0, 60]), entropy.measure(tiny_run)
    assert part.drop_attrs().equals(whole.sel(step=[0, 60]).drop_attrs())


def test_it_does_not_apply_where_inputs_are_no_residues(tiny_run: Run) -> None:
    assert entropy.applies(tiny_run) is None
    parity = tiny_run.config.model_copy(update={"task": make_task("parity")})
    other = Run(tiny_run.path)
    other.config = parity
    assert "not modular" in str(entropy.applies(other))


def test_the_papers_code_gives_the_spectrum_to_a_cross_entropy_of_logits(tiny_run: Run) -> None:
    dataset = entropy.measure(tiny_run, definition="paper-code", neurons="all")
    signals = tiny_run.input_side([60])[0].T.double()
    amplitude = torch.fft.rfft(signals).abs()[:, 1:-1]
    q = amplitude / amplitude.sum(1, keepdim=True)
    expected = torch.nn.functional.cross_entropy(q, q, reduction="none")
    found = dataset.input_entropy_of.sel(step=60).to_numpy()
    assert found == pytest.approx(expected.numpy(), abs=1e-5)
    assert "softmax" in dataset.input_entropy_of.attrs["definition"]
