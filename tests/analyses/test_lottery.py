"""Frequencies compete within neurons: winners, their initial amplitudes and phases."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from mechgrok.analyses import lottery
from mechgrok.runs import Run
from tests.analyses.handmade import handmade_steps, waves

P = 11


def test_a_neuron_worked_out_by_hand(tmp_path: Path) -> None:
    # At the start k = 3 is larger (2 · 2 · 1) and misaligned by 2.5; k = 2 (1 · 1 · 1) is aligned.
    start = waves(P, [2], [0.3]) + 2 * waves(P, [3], [-0.5])
    out = (waves(P, [2], [0.6]) + waves(P, [3], [-1 - 2.5])).T
    end = waves(P, [2], [0.3]), waves(P, [2], [0.6]).T
    measured = lottery.measure(
        handmade_steps(tmp_path / "run", [(start, out), end], name="add", p=P)
    )
    assert measured.winner.values.tolist() == [2]
    first = measured.isel(step=0, neuron=0)
    assert first.initial_amplitude.sel(frequency=[2, 3]).values == pytest.approx([1, 4], rel=1e-5)
    assert first.initial_misalignment.sel(frequency=[2, 3]).values == pytest.approx(
        [0, 2.5], abs=1e-5
    )
    ranks = first["rank"].sel(predictor=["amplitude", "alignment", "both"]).values
    assert ranks.tolist() == [2, 1, 1]
    assert measured.predicted_by_amplitude.values.tolist() == [0, 1]
    assert measured.predicted_by_both.values.tolist() == [1, 1]
    assert measured.chance == pytest.approx(1 / 5)
    assert "0% by amplitude, 100% by phase alignment" in lottery.finding(measured)


def test_phases_around_the_circle_are_symmetric_and_equal_ones_are_not(tmp_path: Path) -> None:
    turns = [math.pi * k / 4 for k in range(4)]  # φ_in: 2φ is at four quarters of the circle
    around = waves(P, [2] * 4, turns), waves(P, [2] * 4, [2 * turn for turn in turns]).T
    equal = waves(P, [2] * 4, [0.4] * 4), waves(P, [2] * 4, [0.8] * 4).T
    symmetry = lottery.measure(
        handmade_steps(tmp_path / "run", [equal, around], name="add", p=P)
    ).phase_symmetry
    assert symmetry.values == pytest.approx([0, 1], abs=1e-5)


def test_random_phases_have_the_expected_symmetry(tmp_path: Path) -> None:
    phase = np.random.default_rng(0).uniform(0, 2 * math.pi, 400).tolist()
    weights = waves(P, [2, 3] * 200, phase), waves(P, [2, 3] * 200, phase).T
    at = lottery.measure(handmade_steps(tmp_path / "run", [weights], name="add", p=P)).isel(step=0)
    assert float(at.phase_symmetry) == pytest.approx(float(at.random_symmetry), abs=0.04)
    assert float(at.random_symmetry) == pytest.approx(1 - math.sqrt(math.pi / 4 / 200), abs=1e-6)


def test_the_spread_counts_frequencies_that_have_equally_many_neurons(tmp_path: Path) -> None:
    k = [1, 1, 4, 4, 5, 5]
    weights = waves(P, k, [0.0] * 6), waves(P, k, [0.0] * 6).T
    spread = lottery.measure(
        handmade_steps(tmp_path / "run", [weights], name="add", p=P)
    ).frequency_spread
    assert float(spread[0]) == pytest.approx(3)


def test_random_neurons_are_predicted_by_chance(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    draws = [
        (torch.randn(P, 2000, generator=generator), torch.randn(2000, P, generator=generator))
        for _ in range(2)
    ]
    first = lottery.measure(handmade_steps(tmp_path / "run", draws, name="add", p=P)).isel(step=0)
    for name in lottery.PREDICTORS:
        assert float(first[f"predicted_by_{name}"]) == pytest.approx(1 / 5, abs=0.03)
    assert float(first.misalignment) == pytest.approx(math.pi / 2, abs=0.05)


def test_a_product_is_a_sum_of_logarithms(tmp_path: Path) -> None:
    from mechgrok.analyses.measures.residues import residues
    from mechgrok.tasks import make_task

    order = residues(make_task("mul", p=P))
    W_in, W_out = torch.zeros(P, 1).double(), torch.zeros(1, P).double()
    W_in[order], W_out[:, order] = waves(10, [4], [0.2]), waves(10, [4], [0.4]).T
    measured = lottery.measure(handmade_steps(tmp_path / "run", [(W_in, W_out)], name="mul", p=P))
    assert measured.winner.values.tolist() == [4]
    assert float(measured.misalignment[0]) == pytest.approx(0, abs=1e-5)


def test_dead_neurons_are_left_out(tmp_path: Path) -> None:
    weights = waves(P, [2, 3], [0.0, 0.0]), waves(P, [2, 3], [0.0, 0.0]).T.clone()
    weights[1][1] = 0
    measured = lottery.measure(
        handmade_steps(tmp_path / "run", [weights, weights], name="add", p=P)
    )
    assert measured.live.values.tolist() == [True, False]
    nobody = torch.zeros(P, 2), torch.zeros(2, P)
    measured = lottery.measure(handmade_steps(tmp_path / "dead", [nobody, nobody], name="add", p=P))
    assert "no neuron is alive" in lottery.finding(measured)
    assert lottery.draw({"dead": measured}).data


def test_it_reads_attention_and_positions(tiny_transformer_run: Run) -> None:
    measured = lottery.measure(tiny_transformer_run)
    assert lottery.finding(measured)
    assert lottery.draw({"transformer": measured}).data


def test_it_needs_a_sum_and_one_layer(group_run: Run, deep_run: Run) -> None:
    assert "neither a sum" in str(lottery.applies(group_run))
    assert "neither a sum" in str(lottery.applies(deep_run))
