"""The quantities of the study: positions between two times, exponents, explained variance."""

import math
from typing import Any

import numpy as np
import pytest

from mechgrok.analyses.papers import Bounds, Quantity
from mechgrok.analyses.papers.norm_or_structure import norm_law, scale_law, shared

NO_SWEEP: Any = None


def fixed(*values: Bounds) -> Quantity:
    return Quantity(lambda sweep: dict(enumerate(values)))


def test_a_position_is_a_share_of_the_lead_and_bounds_are_kept() -> None:
    later = Bounds.beyond(10_000)
    of = fixed(Bounds.exactly(1000), later, Bounds.exactly(1000), later, Bounds.exactly(10))
    zero = fixed(*[Bounds.exactly(100)] * 4, later)
    one = fixed(*[Bounds.exactly(10_000)] * 2, later, later, Bounds.exactly(10_000))
    found = shared.position(of, zero, one)(NO_SWEEP)
    assert found[0] == pytest.approx((0.5, 0.5))
    assert found[1] == pytest.approx((1, math.inf))
    assert found[2] == pytest.approx((0, 0.5))
    assert found[3] == pytest.approx((0, math.inf))
    assert 4 not in found  # no ticket that generalized
    stays = shared.rest(shared.position(of, zero, one))(NO_SWEEP)
    assert stays[1] == pytest.approx((-math.inf, 0))


def test_an_exponential_law_has_no_bend_and_a_measured_exponent() -> None:
    t_gen = {norm: Bounds.exactly(math.exp(0.2 * norm)) for norm in shared.NORMS}
    assert norm_law._bend(t_gen) == pytest.approx((1, 1))
    assert norm_law._bend(t_gen | {44: Bounds.beyond(t_gen[44].low)}) == (
        pytest.approx(1),
        math.inf,
    )
    assert norm_law._at_smallest(t_gen) == Bounds.exactly(1)
    assert norm_law._at_smallest(t_gen | {22: t_gen[30]}) == pytest.approx(
        Bounds.exactly(math.exp(0.8))
    )
    assert norm_law._span(t_gen) == pytest.approx(Bounds.exactly(math.exp(0.2 * 28)))


def test_variance_is_explained_by_what_the_delay_follows() -> None:
    norm, scale = np.meshgrid(np.log(shared.GRID_NORMS), np.log([0.3, 1, 3]))
    rows = np.column_stack([norm.ravel(), scale.ravel(), 2 * scale.ravel() + 1])
    assert scale_law._r_squared(rows, "scale") == pytest.approx(1)
    assert scale_law._r_squared(rows, "both") == pytest.approx(1)
    assert scale_law._r_squared(rows, "norm") == pytest.approx(0, abs=1e-9)
