"""Censored times."""

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from scipy.stats import CensoredData, ecdf

from mechgrok.sweeps.survival import TimeToEvent


def test_without_censoring_the_median_is_the_middle_one() -> None:
    time = TimeToEvent.of([300, 100, 200], [1000, 1000, 1000])
    assert (time.n, time.n_reached, time.median) == (3, 3, 200)
    assert time.mean == 200
    assert time.sd == 100
    assert time.horizon is None


def test_runs_that_did_not_get_there_pull_the_median_up_and_leave_no_mean() -> None:
    reached = [11_600, 12_270, 14_470, 20_100, None, None]
    time = TimeToEvent.of(reached, [30_000] * 6)
    assert time.median == 14_470  # S falls to 3/6 there
    assert time.mean is None
    assert time.horizon == 30_000
    dropped = TimeToEvent.of(reached[:4], [30_000] * 4)
    assert dropped.median < time.median


def test_kaplan_meier_by_hand() -> None:
    """S: 4/5 at 10; one censored at 15; then 2/3 of it at 20, 1/3 of that ... at 30."""
    time = TimeToEvent.of([10, None, 20, 30, None], [99, 15, 99, 99, 40])
    # At 20: 0.8 · 2/3 = 0.533; at 30: 0.533 · 1/2 = 0.267.
    assert time.median == 30


def test_when_half_never_gets_there_the_median_is_beyond_the_horizon() -> None:
    time = TimeToEvent.of([100, None, None], [100, 5000, 6000])
    assert math.isinf(time.median)
    assert str(time).startswith("> 6,000")
    none = TimeToEvent.of([None, None], [5000, 5000])
    assert str(none) == "not within 5,000"


@pytest.mark.parametrize("n", [0, 1])
def test_a_single_run_has_neither_interval_nor_range(n: int) -> None:
    time = TimeToEvent.of([100] * n, [200] * n)
    assert time.n == n
    assert math.isnan(time.low)
    assert "nan" not in str(time)


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_below_six_runs_the_range_is_given_and_called_so(n: int) -> None:
    time = TimeToEvent.of([100 * (i + 1) for i in range(n)], [10_000] * n)
    assert time.is_range
    assert (time.low, time.high) == (100, 100 * n)
    assert str(time).endswith(f"(100 to {100 * n})")
    censored = TimeToEvent.of([*[100 * (i + 1) for i in range(n - 1)], None], [10_000] * n)
    assert math.isinf(censored.high)
    six = TimeToEvent.of([100 * (i + 1) for i in range(6)], [10_000] * 6)
    assert not six.is_range
    assert "[" in str(six)


def exact_median(reached: Sequence[float | None], last: Sequence[float]) -> float:
    """By Efron's redistribution: each run weighs 1/n, and one that ends without an event hands its
    weight in equal parts to those still under way after it."""
    runs = sorted(
        (end if step is None else step, step is None)
        for step, end in zip(reached, last, strict=True)
    )
    weights = [Fraction(1, len(runs))] * len(runs)
    gone = Fraction(0)
    for at, (when, ended) in enumerate(runs):
        if ended:
            for later in range(at + 1, len(runs)):
                weights[later] += weights[at] / (len(runs) - at - 1)
        else:
            gone += weights[at]
            same = [i for i, run in enumerate(runs[at + 1 :], at + 1) if run == (when, False)]
            if gone + sum(weights[i] for i in same) >= Fraction(1, 2):
                return when
    return math.inf


@pytest.mark.parametrize("n", range(1, 9))
def test_the_median_is_exact_in_every_design_of_up_to_eight_runs(n: int) -> None:
    """All patterns of which runs were stopped, for distinct steps and for ties."""
    for steps in ([10 * (i + 1) for i in range(n)], [10 * (i // 2 + 1) for i in range(n)]):
        for stopped in product((False, True), repeat=n):
            reached = [None if gone else step for step, gone in zip(steps, stopped, strict=True)]
            assert TimeToEvent.of(reached, steps).median == exact_median(reached, steps)


def test_the_median_is_exact_in_random_designs() -> None:
    generator = np.random.default_rng(0)
    for _ in range(1500):
        n = int(generator.integers(9, 40))
        last = generator.integers(1, 30, n).tolist()
        reached = [None if generator.random() < 0.3 else step for step in last]
        assert TimeToEvent.of(reached, last).median == exact_median(reached, last)
    reached = [None, 37, 40, 28, 38, 6, None, 7, 10, 43, 3, 21, 2, None, 8]
    last = [10, 37, 40, 28, 38, 6, 11, 7, 10, 43, 3, 21, 2, 20, 8]
    assert TimeToEvent.of(reached, last).median == 21


@pytest.mark.parametrize(("n", "at_least"), [(6, 0.93), (9, 0.93), (20, 0.93)])
def test_the_interval_covers_the_median_as_often_as_it_says(n: int, at_least: float) -> None:
    """Of 2,000 experiments with exponential times, of which a fifth is censored."""
    generator = np.random.default_rng(n)
    covered = 0
    for _ in range(2000):
        times = generator.exponential(1000, n)
        reached = [float(t) if t < 1600 else None for t in times]
        time = TimeToEvent.of(reached, [1600.0] * n)
        covered += time.low <= 1000 * math.log(2) <= time.high
    assert covered / 2000 >= at_least


def test_the_interval_is_that_of_scipy() -> None:
    generator = np.random.default_rng(1)
    for _ in range(50):
        times = generator.exponential(1000, 15)
        reached = [float(t) if t < 1500 else None for t in times]
        time = TimeToEvent.of(reached, [1500.0] * 15)
        events = [t for t in reached if t is not None]
        data = CensoredData(uncensored=events, right=[1500.0] * (15 - len(events)))
        band = ecdf(data).sf.confidence_interval(0.95, method="log-log")
        for end, side in ((time.low, band.low), (time.high, band.high)):
            shares = np.nan_to_num(side.probabilities, nan=0.0)
            below = side.quantiles[shares <= 0.5]
            assert end == (below[0] if len(below) else math.inf)
