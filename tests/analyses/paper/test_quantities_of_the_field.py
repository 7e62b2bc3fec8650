"""Quantities of single papers, where the answer is known: an exact law, halves, censored runs."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from mechgrok.analyses.papers import Bounds, Quantity
from mechgrok.analyses.papers.khanh2026.critical_norm import _from_the_others
from mechgrok.analyses.papers.khanh2026.held_norm import DOSES, _fit, held
from mechgrok.analyses.papers.khanh2026b.shared import share_of_delay
from mechgrok.analyses.papers.nanda2023.phases import _half_way_lead
from mechgrok.analyses.papers.varma2023.ungrokking import SHARES, _crossing, _time_to_fall
from mechgrok.analyses.papers.xu2026.shared import onset


def quantity(*values: Bounds) -> Quantity:
    """A quantity with these values of seeds 0, 1, …"""
    return Quantity(lambda sweep: dict(enumerate(values)))


def values(of: Quantity) -> list[Bounds]:
    """Its values; it needs no runs."""
    nothing: Any = None
    return list(of(nothing).values())


def test_an_exponential_law_has_its_exponent_and_no_residual() -> None:
    times = {held(dose): Bounds.exactly(3 * math.exp(7.5 * dose)) for dose in DOSES}
    assert _fit(times) == pytest.approx((7.5, 1))
    # Censored runs are left out, and three runs are too few.
    assert _fit(times | {held(DOSES[0]): Bounds.beyond(9)}) == pytest.approx((7.5, 1))
    assert _fit(dict.fromkeys(times, Bounds.beyond(9)) | {held(1.0): Bounds.exactly(5)}) is None


def test_half_of_a_delay_is_the_geometric_mean_of_both_times() -> None:
    base, full = quantity(Bounds.exactly(100)), quantity(Bounds.exactly(10_000))
    half, none, more = (quantity(Bounds.exactly(t)) for t in (1_000, 100, 100_000))
    shares = [values(share_of_delay(base, full, part))[0].low for part in (half, none, more)]
    assert shares == pytest.approx([0.5, 0, 1.5])


def test_censored_times_bound_the_share_of_a_delay() -> None:
    base, half = quantity(Bounds.exactly(100)), quantity(Bounds.exactly(1_000))
    beyond = quantity(Bounds.beyond(10_000))
    assert values(share_of_delay(base, beyond, half)) == [Bounds(0, 0.5)]
    full = quantity(Bounds.exactly(10_000))
    assert values(share_of_delay(base, full, beyond)) == [Bounds(1, math.inf)]
    assert not values(share_of_delay(full, base, half))


def test_a_seed_is_compared_with_the_median_of_the_others() -> None:
    norms = quantity(*map(Bounds.exactly, (33, 30, 30, 30)))
    distance = [value.low for value in values(_from_the_others(norms))]
    assert distance == pytest.approx([0.1, 0, 0, 0])


def test_the_onset_of_a_defect_needs_both_thresholds() -> None:
    def defect(*values: float) -> xr.DataArray:
        return xr.DataArray(np.array(values), {"step": 10 * np.arange(len(values))}, ["step"])

    assert onset(defect(1, 1, 1, 15, 21)) == 40  # above 20
    assert onset(defect(4, 4, 4, 39, 41)) == 40  # above ten times the first
    assert math.isinf(onset(defect(4, 4, 4, 39)))


def test_the_critical_share_is_where_accuracy_stays_above_one_half() -> None:
    n = len(SHARES)
    assert _crossing([0.0] * n) == Bounds.beyond(SHARES[-1])
    assert _crossing([1.0] * n) == Bounds(0, SHARES[0])
    # Above one half at a smaller share alone does not count.
    half_way = math.sqrt(SHARES[-2] * SHARES[-1])
    assert _crossing([0.9] + [0.0] * (n - 2) + [1.0]).low == pytest.approx(half_way)


def test_a_network_that_does_not_fall_back_is_censored() -> None:
    def metrics(*accuracies: float) -> pd.DataFrame:
        steps = range(1_000, 1_000 + 10 * len(accuracies), 10)
        table = pd.DataFrame({"step": steps, "test_accuracy": accuracies, "phase": 1})
        before = pd.DataFrame({"step": [0], "test_accuracy": [0.0], "phase": [0]})
        return pd.concat([before, table], ignore_index=True)

    assert _time_to_fall(metrics(1, 0.8, 0.4, 0.1)) == Bounds.exactly(20)
    assert _time_to_fall(metrics(1, 0.9, 0.8)) == Bounds.beyond(20)


def test_a_loss_is_half_way_down_at_half_of_its_fall_in_log() -> None:
    losses = {"restricted_loss": [4.0, 2.0, 1.0, 1.0, 1.0], "test_loss": [1.0, 16.0, 8.0, 4.0, 1.0]}
    step = np.arange(10, 60, 10)
    dataset = xr.Dataset({k: ("step", np.array(v)) for k, v in losses.items()}, {"step": step})
    assert _half_way_lead(dataset) == 40 / 20
