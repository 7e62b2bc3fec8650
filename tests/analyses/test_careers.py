"""Neurons commit to frequencies, switch between them, and gradients name them early."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mechgrok.analyses import careers
from mechgrok.models import raw_weights
from mechgrok.runs import Run
from mechgrok.tasks.harmonics import harmonics
from tests.analyses.handmade import handmade_steps, waves

P = 11


def test_careers_worked_out_by_hand(tmp_path: Path) -> None:
    leaders = [[2, 4], [3, 4], [2, 4], [2, 4]]
    out = torch.ones(2, P)
    weights = [(waves(P, k, [0.1, 0.7]), out) for k in leaders]
    measured = careers.measure(handmade_steps(tmp_path / "run", weights, name="add", p=P))
    assert measured.frequency_of.values.tolist() == leaders
    assert measured.committed_at.values.tolist() == [20, 0]
    assert measured.switches.values.tolist() == [2, 0]
    assert measured.committed.values.tolist() == [0.5, 0.5, 1, 1]
    assert measured.specialized.values.tolist() == [1, 1, 1, 1]
    assert measured.transient.values.tolist() == [0, 0.5, 0, 0]
    assert measured.leaders.values.tolist() == [2, 2, 2, 2]
    assert measured.share_of_noise == pytest.approx(2 / 5)
    assert "from step 20 on" in careers.finding(measured)
    assert "up to 50% (step 10)" in careers.finding(measured)


def test_a_mixed_neuron_is_led_and_not_specialized(tmp_path: Path) -> None:
    mixed = waves(P, [2], [0.0]) + 0.9 * waves(P, [3], [0.0]) + 0.9 * waves(P, [5], [0.0])
    run = handmade_steps(tmp_path / "run", [(mixed, torch.ones(1, P))], name="add", p=P)
    measured = careers.measure(run)
    assert measured.frequency_of.values.tolist() == [[2]]
    assert float(measured.share[0, 0]) == pytest.approx(1 / (1 + 2 * 0.81), rel=1e-5)
    assert float(measured.specialized[0]) == 0


@pytest.mark.parametrize("which", ["tiny_run", "tiny_transformer_run"])
def test_the_energy_is_the_power_spectrum_of_the_gradient(
    which: str, request: pytest.FixtureRequest
) -> None:
    run: Run = request.getfixturevalue(which)
    model, train, p = run.model(20), run.task.train, 7
    run.task.loss(model(train.inputs), train.labels).backward()
    slope = raw_weights(model)[run.wiring.full_name("W_E")].grad
    assert slope is not None
    slope = slope[:p].double()
    power = torch.fft.rfft(slope, dim=0).abs().square().sum(1) / p
    power[1:] *= 2  # and of −k
    energy = careers.gradient_energy(run, 20, harmonics(run.task))
    torch.testing.assert_close(energy, power, rtol=1e-4, atol=0)
    assert float(energy.sum()) == pytest.approx(float(slope.square().sum()), rel=1e-4)


def test_representations_of_a_group_have_careers(group_run: Run) -> None:
    measured = careers.measure(group_run)
    assert measured.representation.values.tolist() == ["trivial", "sign", "standard"]
    assert np.isfinite(measured.gradient_at_final).all()
    assert "representation" in careers.finding(measured)
    assert careers.draw({"group": measured}).data


def test_a_dead_network_has_no_career(tmp_path: Path) -> None:
    nobody = torch.zeros(P, 2), torch.zeros(2, P)
    run = handmade_steps(tmp_path / "run", [nobody], name="add", p=P)
    measured = careers.measure(run)
    assert "no neuron is alive" in careers.finding(measured)
    assert careers.draw({"dead": measured}).data
