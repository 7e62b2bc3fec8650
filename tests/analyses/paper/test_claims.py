"""The rules that decide on claims, on made-up values of each outcome."""

import itertools
import math

import numpy as np
import pytest

from mechgrok.analyses.papers.claims import DEPENDS, Claim, count_verdicts, headline
from mechgrok.analyses.papers.estimates import Bounds, Estimate, number, sign_test_interval
from mechgrok.analyses.papers.quantities import Quantity
from mechgrok.analyses.papers.rules import EARLIER, OneRun, Rule, above, below, within
from mechgrok.sweeps import TimeToEvent


def seen(*values: float) -> list[Bounds]:
    return [Bounds.exactly(value) for value in values]


@pytest.mark.parametrize(
    ("rule", "values", "verdict"),
    [
        (EARLIER, seen(37, 49, 60, 40, 50, 45), "holds"),
        (EARLIER, seen(0.4, 0.5, 0.45, 0.4, 0.3, 0.6), "differs"),
        (EARLIER, seen(1.02, 3.0, 9.0, 1.4, 2.2, 5.0), "holds"),
        (EARLIER, seen(1.02, 3.0, 9.0, 1.4, 2.2, 0.9), "undecided"),
        # The sign test's interval of nine leaves out the smallest and the largest.
        (EARLIER, seen(0.9, 3, 9, 1.4, 2.2, 5, 4, 4, 4), "holds"),
        (EARLIER, seen(0.9, 0.8, 9, 1.4, 2.2, 5, 4, 4, 4), "undecided"),
        (EARLIER, seen(*[1.0] * 9), "undecided"),  # as early is not earlier
        (below(0.05), seen(*[0.3, 0.31, 0.32] * 2), "differs"),
        (above(0.95), seen(*[1] * 6), "holds"),
        (within(0.5, 0.7), seen(*[0.7] * 6), "holds"),
        (within(0.5, 0.7), seen(0.4, *[0.7] * 5), "undecided"),
        (within(0.5, 0.7), seen(*[0.9] * 6), "differs"),
    ],
)
def test_a_rule_decides_from_six_seeds_on(rule: Rule, values: list[Bounds], verdict: str) -> None:
    assert rule.judge(values, len(values)) == verdict


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        (seen(37, 49), "direction agrees"),
        (seen(1.02, 3.0, 9.0), "direction agrees"),
        (seen(0.4, 0.5, 0.45), "direction does not agree"),
        (seen(0.7, 1.1, 1.8), "undecided"),
        (seen(49), "undecided"),
        ([], "undecided"),
    ],
)
def test_fewer_seeds_show_a_direction(values: list[Bounds], verdict: str) -> None:
    assert EARLIER.judge(values, len(values)) == verdict


def test_small_networks_show_a_direction_and_test_no_number_of_the_paper() -> None:
    ratios = seen(3, 4, 5, 6, 7, 8)
    assert EARLIER.judge(ratios, 6, quick=True) == "direction agrees"
    assert within(2, 9).judge(ratios, 6, quick=True) == "not tested"
    assert OneRun(5).judge(ratios, 6, quick=True) == "not tested"


def test_a_run_that_is_not_there_yet_counts_as_later() -> None:
    base, ticket = [Bounds.exactly(20_000)] * 6, [Bounds.beyond(60_000)] * 6
    slower = [a / b for a, b in zip(base, ticket, strict=True)]
    assert EARLIER.judge(slower, 6) == "differs"
    faster = [b / a for a, b in zip(base, ticket, strict=True)]
    assert EARLIER.judge(faster, 6) == "holds"
    neither = [Bounds.beyond(30_000) / Bounds.beyond(30_000)] * 6
    assert EARLIER.judge(neither, 6) == "undecided"
    assert "6 of 6" in EARLIER.explain(neither, 6)
    assert "Longer runs" in EARLIER.explain(neither, 6)
    assert str(faster[0]) == "> 3"
    assert str(neither[0]) == "unknown"


def test_the_seeds_that_would_decide_follow_from_the_share_on_each_side() -> None:
    # 25 values decide if at most 7 are on the other side, of 2/9 with probability 0.832; 24 and
    # fewer decide less often than in 80 % of repetitions.
    assert EARLIER.seeds_to_decide(seen(*[2] * 7, *[0.5] * 2)) == 25
    assert EARLIER.seeds_to_decide(seen(*[0.5] * 7, *[2] * 2)) == 25
    assert EARLIER.seeds_to_decide(seen(*[2] * 9)) == 6
    assert EARLIER.seeds_to_decide(seen(*[2] * 5, *[0.5] * 5)) is None
    assert EARLIER.seeds_to_decide([Bounds(0, math.inf)] * 9) is None
    # The median is inside although most values are outside: 3 below, 3 inside, 3 above.
    spread = seen(*[0.1] * 3, *[0.6] * 3, *[0.9] * 3)
    assert within(0.5, 0.7).judge(spread, 9) == "undecided"
    assert 50 < (within(0.5, 0.7).seeds_to_decide(spread) or 0) < 120


def test_what_would_decide_is_said_of_undecided_claims_alone() -> None:
    assert "25 seeds" in EARLIER.explain(seen(*[2] * 7, *[0.5] * 2), 9)
    assert "1,000" in EARLIER.explain(seen(*[2] * 5, *[0.5] * 5), 10)
    assert "6 seeds" in EARLIER.explain(seen(2, 0.5), 2)
    assert EARLIER.explain(seen(*[2] * 9), 9) == ""


def test_a_number_of_one_run_is_judged_by_its_rank_among_ours() -> None:
    ours = seen(320, 410, 450, 470, 500, 510, 570, 590, 610)
    early, inside, late = OneRun(300), OneRun(400), OneRun(6_000)
    assert inside.judge(ours, 9) == "holds"
    assert inside.judge(ours[:3], 3) == "direction agrees"
    assert inside.explain(ours, 9).startswith("1 of our 9 runs has a smaller")
    assert [rule.judge(ours, 9) for rule in (early, late)] == ["undecided"] * 2
    assert "20%" in early.explain(ours, 9)  # the first or last of ten
    assert [rule.judge(ours * 5, 45) for rule in (early, late)] == ["differs"] * 2
    assert inside.estimate(ours).is_range
    censored = [*seen(320), *[Bounds.beyond(10_000)] * 8]
    assert OneRun(6_000).judge(censored, 9) == "holds"
    assert OneRun(20_000).judge(censored, 9) == "undecided"
    assert "too early" in OneRun(20_000).explain(censored, 9)


def test_a_margin_beyond_one_excludes_the_bound() -> None:
    assert above(1).margin(seen(2, 3, 4)) == pytest.approx(2)  # 2 from the bound, 1 from the end
    assert above(1).margin(seen(0.5, 1.5, 4)) == pytest.approx(0.5)
    assert below(1).margin(seen(2, 3, 4)) == pytest.approx(-2)
    assert below(1, "log").margin(seen(2, 4, 8)) == pytest.approx(-2)
    assert within(2, 9).margin(seen(4, 4.5, 5)) == pytest.approx(5)
    assert within(5, 9).margin(seen(2, 3, 4)) == pytest.approx(-2)
    assert above(1).margin([Bounds(0, math.inf)] * 3) == 0
    assert above(1).margin(seen(2, 2, 2)) == 99
    assert above(1).margin(seen(3)) == 0
    assert OneRun(100).margin(seen(200, 400)) == pytest.approx(-math.log(2))
    assert OneRun(300).margin(seen(200, 400)) == 0


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


@pytest.mark.parametrize(("n", "coverage"), [(3, 0.75), (4, 0.875), (5, 0.9375), (6, 0.96875)])
def test_the_interval_holds_the_median_as_often_as_the_docs_say(n: int, coverage: float) -> None:
    values = np.exp(np.random.default_rng(0).normal(0, 0.5, (4000, n)))  # of median 1
    estimates = [Estimate.of(seen(*row)) for row in values]
    assert all(estimate.is_range == (n < 6) for estimate in estimates)
    held = [e.interval is not None and e.interval.low <= 1 <= e.interval.high for e in estimates]
    assert np.mean(held) == pytest.approx(coverage, abs=0.02)


@pytest.mark.parametrize("times", [(200, 300, 500), (200, 300), (300,)])
def test_few_times_have_the_range_of_survival_analysis(times: tuple[float, ...]) -> None:
    estimate, time = Estimate.of(seen(*times)), TimeToEvent.of(times, times)
    assert estimate.is_range == time.is_range
    if len(times) % 2:  # the median of two is their mean, and Kaplan and Meier's the first
        assert str(estimate) == str(time)
    if estimate.interval is not None:
        assert estimate.interval == (time.low, time.high)


def claim(rule: Rule | OneRun = EARLIER, statement: str = "") -> Claim:
    return Claim("a", "b", "c", rule, Quantity(lambda sweep: {}), "38", statement)


def test_a_claim_keeps_its_values_and_what_decided() -> None:
    values = {0: Bounds.exactly(40), 1: Bounds.exactly(50), 2: Bounds.beyond(60)}
    row = claim().judge_values(values)
    assert row["verdict"] == "direction agrees"
    assert row["values"] == {"0": [40, 40], "1": [50, 50], "2": [60, None]}
    assert (row["median"], row["seeds"]) == ("50", 3)
    assert "above 1" in row["rule"]
    assert claim().judge_values({})["verdict"] == "undecided"


def test_runs_of_several_methods_are_of_as_many_seeds_as_there_are() -> None:
    keys = itertools.product(range(2), ("SNIP", "GraSP"))
    row = claim(OneRun(5)).judge_values({key: Bounds.exactly(7) for key in keys})
    assert row["seeds"] == 2
    assert list(row["values"]) == ["0, SNIP", "0, GraSP", "1, SNIP", "1, GraSP"]


def test_definitions_of_one_statement_count_once() -> None:
    rows = [
        {"item": "fig1", "statement": "L", "verdict": "holds"},
        {"item": "fig1", "statement": "L", "verdict": "differs"},
        {"item": "fig1", "statement": "C", "verdict": "holds"},
        {"item": "fig1", "statement": "C", "verdict": "holds"},
        {"item": "fig1", "statement": "", "verdict": "undecided"},
        {"item": "fig2", "verdict": "holds"},  # of an earlier revision
    ]
    assert count_verdicts(rows) == {DEPENDS: 1, "holds": 2, "undecided": 1}
    assert headline(rows) == "4 claims (undecided: 1, depends on the definition: 1, holds: 2)"


def test_numbers_are_read_by_people() -> None:
    assert [number(x) for x in (0.0, 12_200, -4.56)] == ["0", "12,200", "−4.56"]


@pytest.mark.parametrize(
    "values", [seen(0.7, 0.9, 0.99), seen(3), [*seen(2), Bounds.beyond(5)], seen(*range(9))]
)
def test_an_estimate_is_read_back_from_its_row(values: list[Bounds]) -> None:
    estimate = Estimate.of(values)
    row = {**estimate.as_row(), "seeds": len(values), "values": dict(enumerate(values))}
    assert Estimate.from_row(row) == estimate
