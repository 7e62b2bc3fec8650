"""Statistics of precursors, on samples and curves with known answers."""

import numpy as np
import pytest
from scipy import stats

from mechgrok.analyses.measures.precursors import (
    LEVEL,
    auroc,
    centred_ranks,
    false_alarms,
    onset,
    permutation_test,
    stratified_rank_correlation,
)

ONE = np.zeros(8, dtype=int)
POSITIVE = np.arange(8) >= 4


def test_separated_samples_have_an_area_of_one_and_an_interval_below_it() -> None:
    area = auroc(np.arange(8.0), POSITIVE, ONE)
    assert area.value == area.high == 1
    assert 0.5 < area.low < 0.9
    reverse = auroc(-np.arange(8.0), POSITIVE, ONE)
    assert (reverse.value, reverse.low) == (0, 0)
    assert reverse.high == pytest.approx(1 - area.low)


def test_identical_samples_and_ties_have_an_area_of_one_half() -> None:
    for values in (np.tile(np.arange(4.0), 2), np.ones(8)):
        area = auroc(values, POSITIVE, ONE)
        assert area.value == 0.5
        assert area.low == pytest.approx(1 - area.high)
        assert area.low < 0.25


def test_the_area_is_that_of_mann_and_whitney() -> None:
    values = np.random.default_rng(0).integers(0, 5, 30).astype(float)
    positive = np.arange(30) < 11
    expected = stats.mannwhitneyu(values[positive], values[~positive]).statistic / (11 * 19)
    assert auroc(values, positive, np.zeros(30, dtype=int)).value == pytest.approx(expected)


def test_pairs_count_within_a_stratum_only() -> None:
    """Each stratum is separated; the second is so high that pooling would hide it."""
    values = np.array([1.0, 2, 3, 4, 101, 102, 103, 104])
    positive = np.array([False, False, True, True] * 2)
    strata = np.repeat([0, 1], 4)
    assert auroc(values, positive, strata).value == 1
    assert auroc(values, positive, ONE).value == 0.75
    assert np.isnan(auroc(values, strata == 1, strata).value)


def test_missing_values_are_no_pairs() -> None:
    values = np.arange(8.0)
    values[[0, 7]] = np.nan
    area = auroc(values, POSITIVE, ONE)
    assert (area.value, area.positive, area.negative) == (1, 3, 3)


@pytest.mark.parametrize("shift", [0.0, 1.5])
def test_the_interval_covers_the_true_area(shift: float) -> None:
    generator, n = np.random.default_rng(1), 400
    truth, covered = stats.norm.cdf(shift / np.sqrt(2)), 0
    positive = np.arange(24) >= 12
    for _ in range(n):
        values = generator.normal(size=24) + shift * positive
        area = auroc(values, positive, np.zeros(24, dtype=int))
        covered += area.low <= truth <= area.high
    assert covered / n > 0.93


def test_a_step_function_has_its_onset_at_the_step() -> None:
    noise = 0.01 * np.random.default_rng(0).normal(size=60)
    for at in (5, 20, 50):
        curve = (np.arange(60) >= at) + noise
        assert onset(curve) == onset(-curve) == onset(1e-6 * curve + 7) == at
    assert onset(np.append(np.zeros(59), 1.0)) is None, "a single value is not a departure"


@pytest.mark.parametrize("power", [0.5, 1, 2, 4])
def test_a_power_law_has_no_onset(power: float) -> None:
    assert onset(np.arange(1, 200.0) ** power) is None


def test_constant_and_short_curves_have_no_onset() -> None:
    assert onset(np.full(60, 0.1)) is None
    assert onset(np.array([0.0, 0, 0, 0, 0, 1])) is None


@pytest.mark.parametrize("draw", ["normal", "uniform", "exponential"])
def test_shuffled_curves_raise_fewer_false_alarms_than_the_level(draw: str) -> None:
    generator = np.random.default_rng(2)
    rates = [false_alarms(getattr(generator, draw)(size=60)) for _ in range(20)]
    assert np.mean(rates) <= LEVEL


def test_partial_correlation_of_a_known_triple() -> None:
    """By hand, for ranks without ties: ρ = 1 − 6 Σ d² / (n (n² − 1))."""
    x, y, z = (np.array(v, float) for v in ([1, 2, 3, 4, 5], [2, 1, 4, 3, 5], [1, 3, 2, 5, 4]))
    strata = np.zeros(5, dtype=int)
    xy, xz, yz = 1 - 6 * 4 / 120, 1 - 6 * 4 / 120, 1 - 6 * 14 / 120
    assert stratified_rank_correlation(x, y, strata) == pytest.approx(xy)
    expected = (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))
    assert stratified_rank_correlation(x, y, strata, given=z) == pytest.approx(expected)


def test_a_measure_with_the_order_of_the_norm_has_no_partial_correlation() -> None:
    z = np.arange(8.0)
    assert np.isnan(stratified_rank_correlation(np.exp(z), z % 3, ONE, given=z))
    assert np.isnan(stratified_rank_correlation(z, np.ones(8), ONE))


def test_ranks_are_those_within_the_stratum() -> None:
    ranks = centred_ranks(np.array([3.0, 1, 2, 9, 9, np.nan]), np.array([0, 0, 0, 1, 1, 1]))
    assert ranks.tolist() == [1, -1, 0, 0, 0, 0]


def test_permuted_outcomes_give_the_exact_p_of_a_separated_sample() -> None:
    """Of the 70 ways to choose four of eight runs, two are as extreme."""
    values = np.stack([np.arange(8.0), np.ones(8)], axis=1)
    chance = permutation_test(values, POSITIVE, ONE, n=20_000)
    assert chance.p[0] == pytest.approx(2 / 70, abs=0.005)
    assert np.isnan(chance.p[1])


def test_copies_of_a_measure_count_as_one_and_independent_ones_do_not() -> None:
    generator = np.random.default_rng(3)
    positive, strata = np.arange(40) < 20, np.zeros(40, dtype=int)
    measure = generator.normal(size=40) + 0.8 * positive
    copies = permutation_test(np.tile(measure[:, None], 20), positive, strata)
    assert copies.p_family[0] == pytest.approx(copies.p[0])
    others = np.column_stack([measure, generator.normal(size=(40, 19))])
    family = permutation_test(others, positive, strata)
    assert family.p_family[0] > 3 * family.p[0]
    assert family.expected == pytest.approx(0.05 * 20, rel=0.15)
    assert family.at_most >= 2
