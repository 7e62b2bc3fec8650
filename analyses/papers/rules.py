"""Rules that decide on a claim, given the value of each seed.

A rule is a region of the median (`Rule`), or the number of a single run in the paper (`OneRun`).
From six seeds on, a claim holds or differs, or is undecided. Fewer seeds, and small networks, show
only whether the direction agrees.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from mechgrok.analyses.papers.estimates import Bounds, Comparison, Estimate, number
from mechgrok.sweeps.survival import INTERVAL_FROM

Verdict = Literal[
    "differs",
    "direction does not agree",
    "undecided",
    "direction agrees",
    "holds",
    "not tested",
]
#: The least share of repetitions in which the predicted number of seeds would decide.
POWER = 0.8
#: The largest number of seeds that is predicted.
MOST_SEEDS = 1000
_LARGEST_MARGIN = 99.0


class Decides(Protocol):
    """What decides on a claim."""

    def estimate(self, values: Sequence[Bounds]) -> Estimate:
        """The median with its interval."""

    def judge(self, values: Sequence[Bounds], seeds: int, *, quick: bool = False) -> Verdict:
        """The verdict on the values of this number of seeds."""

    def margin(self, values: Sequence[Bounds]) -> float:
        """How clearly the claim holds (positive) or differs (negative)."""

    def explain(self, values: Sequence[Bounds], seeds: int) -> str:
        """What would decide an undecided claim, or the rank of the paper's number; often empty."""


@dataclass(frozen=True)
class Rule:
    """The region of the median in which a claim holds.

    Attributes:
        low, high: the bounds of the region; None for no bound.
        scale: whether to compare values by ratio or difference.
    """

    low: float | None = None
    high: float | None = None
    scale: Comparison = "linear"

    def estimate(self, values: Sequence[Bounds]) -> Estimate:
        """The median with its interval."""
        return Estimate.of(values)

    def judge(self, values: Sequence[Bounds], seeds: int, *, quick: bool = False) -> Verdict:
        """Whether the interval of the median, or the range, is inside or outside the region.

        Small networks do not test a region with two bounds, which is around a number of the paper.
        """
        if quick and not self._one_sided:
            return "not tested"
        if len(values) < 2:
            return "undecided"
        estimate = self.estimate(values)
        place = self._place(estimate.interval or estimate.median)
        if place is None:
            return "undecided"
        if quick or estimate.is_range:
            return "direction agrees" if place == "inside" else "direction does not agree"
        return "holds" if place == "inside" else "differs"

    def _place(self, value: Bounds) -> Literal["inside", "outside"] | None:
        """Where both bounds are; None if one may be inside and the other outside."""
        if not (self._too_small(value.low) or self._too_large(value.high)):
            return "inside"
        below = self.low is not None and value.high < self.low
        return "outside" if below or (self.high is not None and value.low > self.high) else None

    @property
    def _one_sided(self) -> bool:
        return self.low is None or self.high is None

    def _too_small(self, value: float) -> bool:
        """Whether a value is too small, as is one on the only bound of a region (a ratio of 1)."""
        return self.low is not None and (
            value < self.low or (self._one_sided and value == self.low)
        )

    def _too_large(self, value: float) -> bool:
        """Whether a value is too large, in the same way."""
        return self.high is not None and (
            value > self.high or (self._one_sided and value == self.high)
        )

    def margin(self, values: Sequence[Bounds]) -> float:
        """The median's distance from the region's bound, over its distance from the interval's end.

        Positive inside and negative outside; beyond ±1 the interval excludes the bound.
        """
        estimate = self.estimate(values)
        if estimate.interval is None:
            return 0.0
        margins = []
        for bound, sign in ((self.low, 1), (self.high, -1)):
            if bound is not None:
                # Of values turned round, the region is above its bound too.
                medians = sorted(sign * self._on_scale(value) for value in estimate.median)
                ends = sorted(sign * self._on_scale(value) for value in estimate.interval)
                margins.append(_margin(medians, ends, sign * self._on_scale(bound)))
        return min(margins)

    def _on_scale(self, value: float) -> float:
        if self.scale == "linear":
            return value
        return math.log(value) if value > 0 else -math.inf

    def explain(self, values: Sequence[Bounds], seeds: int) -> str:
        """What would decide an undecided claim."""
        if self.judge(values, seeds) != "undecided":
            return ""
        if seeds < INTERVAL_FROM:
            return f"A verdict needs at least {INTERVAL_FROM} seeds."
        if needed := self.seeds_to_decide(values):
            return f"About {needed} seeds would decide, if they spread like these {seeds}."
        if n_open := sum(v.low < v.high and self._place(v) is None for v in values):
            return (
                f"Longer runs rather than more seeds would decide: {n_open} of {len(values)} "
                "values are open, because a run ended too early."
            )
        return (
            f"Not even {MOST_SEEDS:,} seeds would decide, if they spread like these {seeds}: the "
            "median is at the edge of the region."
        )

    def seeds_to_decide(self, values: Sequence[Bounds]) -> int | None:
        """The number of seeds that would decide in at least 80 % of repetitions.

        The sign test decides by the number of values on the wrong side of a bound, which is
        binomial with their share, estimated by the share among these values. None if more than
        1,000 seeds are needed.
        """
        from scipy.stats import binom

        def share(wrong: Sequence[bool]) -> float:
            return sum(wrong) / len(wrong)

        n = np.arange(INTERVAL_FROM, MOST_SEEDS + 1)
        d = binom.ppf((1 - 0.95) / 2, n, 0.5)
        too_small = binom.sf(d - 1, n, share([self._too_small(v.low) for v in values]))
        too_large = binom.sf(d - 1, n, share([self._too_large(v.high) for v in values]))
        powers = [1 - too_small - too_large]  # at least
        if self.low is not None:
            powers.append(binom.cdf(d - 1, n, share([v.high >= self.low for v in values])))
        if self.high is not None:
            powers.append(binom.cdf(d - 1, n, share([v.low <= self.high for v in values])))
        enough = np.max(powers, axis=0) >= POWER
        return int(n[enough.argmax()]) if enough.any() else None

    def __str__(self) -> str:
        if self.low is not None and self.high is not None:
            region = f"within {number(self.low)} to {number(self.high)}"
        else:
            side = "above" if self.low is not None else "below"
            region = f"{side} {number(self.low if self.low is not None else self.high or 0.0)}"
        return (
            f"holds if the interval of the median is {region}, differs if it is outside, else "
            "undecided"
        )


@dataclass(frozen=True)
class OneRun:
    """The number of a single run in the paper, judged by its rank among our runs.

    If the paper's run were one more of ours, its number would be smaller than all n of ours, or
    larger than all, with probability 2 / (n + 1).

    Attributes:
        printed: the number.
    """

    printed: float

    def estimate(self, values: Sequence[Bounds]) -> Estimate:
        """The median with the range."""
        return Estimate.of(values, as_range=True)

    def judge(self, values: Sequence[Bounds], seeds: int, *, quick: bool = False) -> Verdict:
        """Whether our runs have smaller and larger numbers; it differs from 39 seeds on."""
        if quick:
            return "not tested"
        smaller, larger = self._rank(values)
        if smaller and larger:
            return "holds" if seeds >= INTERVAL_FROM else "direction agrees"
        all_on_one_side = len(values) in (smaller, larger)
        return "differs" if all_on_one_side and 2 / (seeds + 1) <= 0.05 else "undecided"

    def _rank(self, values: Sequence[Bounds]) -> tuple[int, int]:
        """The numbers of values that are smaller and larger for certain, or equal."""
        smaller = sum(value.high <= self.printed for value in values)
        return smaller, sum(value.low >= self.printed for value in values)

    def margin(self, values: Sequence[Bounds]) -> float:
        """0 within the range; outside, minus the factor's logarithm to the nearest of our runs."""
        smaller, larger = self._rank(values)
        if (smaller and larger) or len(values) not in (smaller, larger) or self.printed <= 0:
            return 0.0
        nearest = max(v.high for v in values) if smaller else min(v.low for v in values)
        return -abs(math.log(nearest / self.printed)) if nearest > 0 else 0.0

    def explain(self, values: Sequence[Bounds], seeds: int) -> str:
        """The rank of the paper's number among our runs."""
        if not values:
            return ""
        n, (smaller, larger) = len(values), self._rank(values)
        runs = f"of our {n} runs"
        if smaller and larger:
            return f"{smaller} {runs} {'has a' if smaller == 1 else 'have a'} smaller number."
        if n not in (smaller, larger):
            return f"Some {runs} ended too early to rank the paper's number."
        side = "larger" if smaller else "smaller"
        return (
            f"The paper's number is {side} than those {runs}. One more run would be outside their "
            f"range with probability {2 / (seeds + 1):.0%}; 39 seeds would decide."
        )

    def __str__(self) -> str:
        return (
            "one run in the paper: holds if some of our runs have a smaller number and some a "
            "larger one, differs if none of 39 or more seeds does, else undecided"
        )


def _margin(medians: Sequence[float], ends: Sequence[float], bound: float) -> float:
    """The margin of `Rule.margin` for a region above a bound; ordered medians and ends."""
    if medians[0] > bound:
        distance, width = medians[0] - bound, medians[0] - ends[0]
    elif medians[-1] < bound:
        distance, width = medians[-1] - bound, ends[-1] - medians[-1]
    else:
        return 0.0
    if math.isinf(width):
        return 0.0
    # The width is nan if the median and the interval's end are both infinite.
    margin = distance / width if width > 0 else math.copysign(_LARGEST_MARGIN, distance)
    return max(-_LARGEST_MARGIN, min(_LARGEST_MARGIN, margin))


def above(bound: float, scale: Comparison = "linear") -> Rule:
    """The median is larger than this."""
    return Rule(low=bound, scale=scale)


def below(bound: float, scale: Comparison = "linear") -> Rule:
    """The median is smaller than this."""
    return Rule(high=bound, scale=scale)


def within(low: float, high: float, scale: Comparison = "linear") -> Rule:
    """The median is at least ``low`` and at most ``high``."""
    return Rule(low, high, scale)


#: Rules for a ratio of two times: the second is earlier, or later, than the first.
EARLIER, LATER = above(1, "log"), below(1, "log")
