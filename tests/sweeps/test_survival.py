"""Censored waiting times."""

import math

import numpy as np
import pytest

from mechgrok.sweeps.survival import Waiting


def test_without_censoring_the_median_is_the_middle_one() -> None:
    waiting = Waiting.of([300, 100, 200], [1000, 1000, 1000])
    assert (waiting.n, waiting.n_reached, waiting.median) == (3, 3, 200)
    assert waiting.mean == 200
    assert waiting.sd == 100
    assert waiting.horizon is None


def test_runs_that_did_not_get_there_pull_the_median_up_and_leave_no_mean() -> None:
    reached = [11_600, 12_270, 14_470, 20_100, None, None]
    waiting = Waiting.of(reached, [30_000] * 6)
    assert waiting.median == 14_470  # S falls to 3/6 there
    assert waiting.mean is None
    assert waiting.horizon == 30_000
    dropped = Waiting.of(reached[:4], [30_000] * 4)
    assert dropped.median < waiting.median


def test_kaplan_meier_by_hand() -> None:
    """S: 4/5 at 10; one censored at 15; then 2/3 of it at 20, 1/3 of that ... at 30."""
    waiting = Waiting.of([10, None, 20, 30, None], [99, 15, 99, 99, 40])
    # At 20: 0.8 · 2/3 = 0.533; at 30: 0.533 · 1/2 = 0.267.
    assert waiting.median == 30


def test_when_half_never_gets_there_the_median_is_beyond_the_horizon() -> None:
    waiting = Waiting.of([100, None, None], [100, 5000, 6000])
    assert math.isinf(waiting.median)
    assert str(waiting).startswith("> 6,000")
    none = Waiting.of([None, None], [5000, 5000])
    assert str(none) == "not within 5,000"


def test_the_interval_covers_the_true_median_of_exponential_waiting_times() -> None:
    """Nominal coverage 95 %; of 200 experiments at least 90 % must cover."""
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        t = generator.exponential(1000, 20)
        reached = [float(x) if x < 2000 else None for x in t]
        waiting = Waiting.of(reached, [2000.0] * 20)
        covered += waiting.low <= 1000 * math.log(2) <= waiting.high
    assert covered >= 180


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_runs(n: int) -> None:
    waiting = Waiting.of([100] * n, [200] * n)
    assert waiting.n == n
    assert math.isnan(waiting.low)
    assert "nan" not in str(waiting)
