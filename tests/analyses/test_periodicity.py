"""Neurons' input weights as waves."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from mechgrok.analyses import periodicity
from mechgrok.analyses.measures.residues import residues
from mechgrok.errors import UserError
from mechgrok.runs import Run
from mechgrok.runs.parquet import read_parquet, write_parquet
from tests.analyses.handmade import handmade_run, waves


def test_waves_written_into_the_weights_are_found_again(tmp_path: Path) -> None:
    W_in = 3 * waves(11, [1, 4, 5], [0.5, -2.0, 3.0]) + torch.tensor([0.0, 1.0, -2.0])
    W_in = torch.cat([W_in, torch.zeros(11, 1)], dim=1)
    run = handmade_run(tmp_path / "run", W_in, torch.zeros(4, 11), name="add", p=11)
    at = periodicity.measure(run).isel(step=0)
    assert at.frequency_of.values[:3].tolist() == [1, 4, 5]
    np.testing.assert_allclose(at.phase[:3], [0.5, -2.0, 3.0], atol=1e-5)
    np.testing.assert_allclose(at.amplitude[:3], 3, atol=1e-5)
    np.testing.assert_allclose(at.offset[:3], [0, 1, -2], atol=1e-5)
    np.testing.assert_allclose(at.explained[:3], 1, atol=1e-5)
    assert at.live.values.tolist() == [True, True, True, False]


def test_a_network_that_multiplies_is_periodic_in_the_logarithm_only(tmp_path: Path) -> None:
    order = residues_of_13()
    W_in = torch.zeros(13, 1, dtype=torch.float64)
    W_in[order] = waves(12, [2], [0.3])
    run = handmade_run(tmp_path / "run", W_in, torch.zeros(1, 13), name="mul", p=13)
    at = periodicity.measure(run)
    assert at.attrs["order"] == "multiplicative"
    assert at.residue.values.tolist() == order
    assert (int(at.frequency_of[0, 0]), float(at.explained[0, 0])) == (2, pytest.approx(1))
    additive = periodicity.measure(run, order="additive")
    assert additive.sizes["position"] == 13
    assert float(additive.explained[0, 0]) < 0.9


def residues_of_13() -> list[int]:
    """Powers of 2, the smallest primitive root modulo 13."""
    return [2**exponent % 13 for exponent in range(12)]


def test_the_direct_and_the_attention_path_can_be_chosen(tiny_transformer_run: Run) -> None:
    through = periodicity.measure(tiny_transformer_run)
    direct = periodicity.measure(tiny_transformer_run, path="direct")
    assert (through.attrs["path"], direct.attrs["path"]) == ("attention", "direct")
    expected = tiny_transformer_run.input_side()[:, residues(tiny_transformer_run.task)]
    np.testing.assert_allclose(direct.weight, expected.transpose(1, 2))
    assert not np.allclose(through.weight, direct.weight)


def test_explained_share_does_not_change_when_neurons_are_scaled(tiny_run: Run) -> None:
    at = periodicity.measure(tiny_run, steps=[60])
    weights = at.weight.to_numpy()[0]
    spectrum = np.abs(np.fft.fft(weights - weights.mean(1, keepdims=True), axis=1)) ** 2
    share = 2 * spectrum[:, 1:4].max(1) / spectrum.sum(1)
    np.testing.assert_allclose(at.explained[0], share, rtol=1e-4)
    assert (np.abs(at.phase) <= math.pi).all()


def test_results_survive_a_file(tiny_run: Run, tmp_path: Path) -> None:
    measured = periodicity.measure(tiny_run)
    write_parquet(measured, tmp_path / "p.parquet")
    assert read_parquet(tmp_path / "p.parquet").identical(measured)


def test_the_figure_has_a_stop_for_every_step_of_every_run(
    tiny_run: Run, tiny_transformer_run: Run
) -> None:
    measured = {
        "mlp": periodicity.measure(tiny_run),
        "transformer": periodicity.measure(tiny_transformer_run, steps=[0, 40]),
    }
    figure = periodicity.draw(measured)
    steps = {int(step) for dataset in measured.values() for step in dataset.step}
    assert [int(frame.name) for frame in figure.frames] == sorted(steps)
    drawn = [
        at for at, trace in enumerate(figure.data) if trace.x is None or trace.x[0] is not None
    ]
    assert all(list(frame.traces) == drawn for frame in figure.frames)
    assert "one cosine explains" in periodicity.finding(measured["mlp"])


def test_a_step_without_a_checkpoint_is_refused(tiny_run: Run) -> None:
    with pytest.raises(UserError, match="nearest"):
        periodicity.measure(tiny_run, steps=[33])
