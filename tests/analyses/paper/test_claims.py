"""The rules that decide on claims, on made-up values of each outcome."""

import math
from dataclasses import replace

import numpy as np
import pytest

from mechgrok.analyses.papers.claims import EARLIER, Claim, Rule, above, below, within
from mechgrok.analyses.papers.estimates import Bounds, Estimate, number, sign_test_interval
from mechgrok.analyses.papers.quantities import A_SHARE, Quantity


def seen(*values: float) -> list[Bounds]:
    return [Bounds.exactly(value) for value in values]


@pytest.mark.parametrize(
    ("rule", "values", "verdict"),
    [
        (EARLIER, seen(37, 49, 60), "holds"),
        (EARLIER, seen(0.4, 0.5, 0.45), "differs"),
        (EARLIER, seen(0.7, 1.1, 1.8), "undecided"),
        (EARLIER, seen(1.0, 1.0, 1.0), "undecided"),  # as early is not earlier
        # On one side, but three values so far apart do not say where the median is.
        (EARLIER, seen(1.02, 3.0, 9.0), "undecided"),
        (EARLIER, seen(1.02, 3.0, 9.0, 1.4, 2.2, 5.0), "holds"),  # six say it without Student
        (EARLIER, seen(1.02, 3.0, 9.0, 1.4, 2.2, 0.9), "undecided"),
        (below(0.05), seen(0.01, 0.015, 0.012), "holds"),
        (below(0.05), seen(0.3, 0.31, 0.32), "differs"),
        (above(0.95), seen(1, 1, 1), "holds"),
        (within(0.5, 0.7), seen(0.7, 0.7, 0.7), "holds"),
        (within(0.5, 0.7), seen(0.6, 0.7, 0.7), "undecided"),
        (within(0.5, 0.7), seen(0.9, 0.9, 0.9), "differs"),
        (EARLIER, seen(49), "undecided"),  # of one seed
        (EARLIER, [], "undecided"),
    ],
)
def test_a_rule_on_made_up_values(rule: Rule, values: list[Bounds], verdict: str) -> None:
    estimate = Estimate.of(values, rule.scale) if values else None
    assert rule.judge(estimate) == verdict


def test_a_run_that_is_not_there_yet_counts_as_later() -> None:
    base, ticket = [Bounds.exactly(20_000)] * 3, [Bounds.beyond(60_000)] * 3
    slower = [a / b for a, b in zip(base, ticket, strict=True)]
    assert EARLIER.judge(Estimate.of(slower, "log")) == "differs"
    faster = [b / a for a, b in zip(base, ticket, strict=True)]
    assert EARLIER.judge(Estimate.of(faster, "log")) == "holds"
    neither = [Bounds.beyond(30_000) / Bounds.beyond(30_000)] * 3
    assert EARLIER.judge(Estimate.of(neither, "log")) == "undecided"
    assert str(faster[0]) == "> 3"
    assert str(neither[0]) == "unknown"


def test_the_median_of_bounds_is_bounded() -> None:
    values = [*seen(2, 3), Bounds.beyond(5)]
    assert Estimate.of(values).median == Bounds(3, 3)
    assert Estimate.of([*seen(2), Bounds.beyond(4), Bounds.beyond(5)]).median == Bounds(4, math.inf)


def test_three_values_reach_three_quarters_and_six_reach_95_percent() -> None:
    assert sign_test_interval(3, 0.75) == (1, 0.75)
    assert sign_test_interval(5) is None
    assert sign_test_interval(6) == (1, 1 - 2 / 2**6)
    d, confidence = sign_test_interval(20) or (0, 0)
    assert (d, round(confidence, 3)) == (6, 0.959)  # of the tables of the sign test


def test_the_interval_of_few_holds_the_median_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    for n in (3, 6):
        held = 0
        for _ in range(2000):
            values = np.exp(generator.normal(0, 0.5, n))  # of median 1
            interval = Estimate.of(seen(*values), "log").interval
            assert interval is not None
            held += interval.low <= 1 <= interval.high
        assert held / 2000 > 0.94


def test_a_claim_keeps_its_values_and_what_decided() -> None:
    claim = Claim(
        "The ticket generalizes earlier.",
        "v3, figure 2a",
        "t_gen of the base run over that of its ticket",
        EARLIER,
        Quantity(
            lambda sweep: {0: Bounds.exactly(40), 1: Bounds.exactly(50), 2: Bounds.beyond(60)}
        ),
        printed="38",
    )
    row = claim.judge(None)  # type: ignore[arg-type]
    assert row["verdict"] == "holds"
    assert row["values"] == {"0": [40, 40], "1": [50, 50], "2": [60, None]}
    assert row["median"] == "50"
    assert "above 1" in str(row["rule"])


def test_an_interval_stays_within_what_a_quantity_can_be() -> None:
    values = {seed: Bounds.exactly(x) for seed, x in enumerate((0.7, 0.9, 0.99))}
    free = Claim("a", "a", "a", above(0.5), Quantity(lambda sweep: values))
    share = replace(free, values=replace(free.values, possible=A_SHARE))
    ends = [claim.judge(None)["high"] for claim in (free, share)]  # type: ignore[arg-type]
    assert ends[0] > 1
    assert ends[1] == 1


def test_numbers_are_read_by_people() -> None:
    assert [number(x) for x in (0.0, 12_200, -4.56)] == ["0", "12,200", "−4.56"]


@pytest.mark.parametrize("values", [seen(0.7, 0.9, 0.99), seen(3), [*seen(2), Bounds.beyond(5)]])
def test_an_estimate_is_read_back_from_its_row(values: list[Bounds]) -> None:
    estimate = Estimate.of(values)
    assert Estimate.from_row(estimate.as_row()) == estimate
