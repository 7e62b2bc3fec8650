"""Claims, and what runs say of them: that they hold, that it differs, or that it is undecided.

A claim is data: what is said and where, the quantity that would show it, and a rule that was fixed
before anything was looked at. The quantity has a value for each seed, and the rule asks where the
median of the values lies.

**Not within N steps is a value.** A value is known to lie between two bounds (`Known`), which are
equal where it was seen: t_gen of a run that did not generalize within 60,000 steps lies between
60,000 and infinity, and a ratio of two of them wherever their bounds leave it.

**The interval of the median.** From six seeds on it is that of the sign test: between two of the
ordered values, whatever the distribution, with 95 % or more. With fewer there is no such interval:
from the smallest of three values to the largest it is 75 %. Then it is the wider of two at either
end: that one, and Student's of the mean with 95 % (of logarithms, for ratios and times). The second
is wide where three values are far apart (its factor is 4.3) and supposes that they are about
normal. A bound stands in for a value that is only known to lie beyond it. One seed decides nothing.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple, Self

import numpy as np

from mechgrok.formatting import number

if TYPE_CHECKING:
    from mechgrok.sweeps import Sweep

Verdict = Literal["holds", "differs", "undecided"]
#: Whether values are compared by their ratios or by their differences.
Scale = Literal["log", "linear"]
#: The seeds from which on the sign test's interval of the median reaches 95 %.
SIGN_TEST_FROM = 6
_CONFIDENCE = 0.95


class Known(NamedTuple):
    """A number that is known to lie between two bounds, equal where it was seen.

    >>> Known.exactly(300).over(Known.beyond(60_000))
    Known(low=0.0, high=0.005)
    """

    low: float
    high: float

    @classmethod
    def exactly(cls, value: float) -> Self:
        """A number that was seen."""
        return cls(float(value), float(value))

    @classmethod
    def beyond(cls, value: float) -> Self:
        """A number that is known to be larger: t_gen of a run that was stopped before."""
        return cls(float(value), math.inf)

    def over(self, other: "Known") -> "Known":
        """The ratio of two numbers of which none is negative."""
        low = self.low / other.high if other.high else math.inf
        high = self.high / other.low if other.low else math.inf
        return Known(0.0 if math.isnan(low) else low, math.inf if math.isnan(high) else high)

    def __str__(self) -> str:
        if self.low == self.high:
            return number(self.low)
        if math.isinf(self.high):
            return f"> {number(self.low)}" if self.low > 0 else "unknown"
        return (
            f"< {number(self.high)}"
            if self.low <= 0
            else f"{number(self.low)} to {number(self.high)}"
        )


@dataclass(frozen=True)
class Estimate:
    """The median of a quantity over seeds, with its interval.

    Attributes:
        median: what is known of it.
        interval: its interval; None with fewer than two seeds.
        n: the seeds.
    """

    median: Known
    interval: Known | None
    n: int

    @classmethod
    def of(cls, values: Sequence[Known], scale: Scale = "linear") -> Self:
        """The median of the values.

        Raises:
            ValueError: there is none.
        """
        if not values:
            raise ValueError("There is no median of nothing.")
        lows, highs = (np.sort([each[side] for each in values]) for side in (0, 1))
        median = Known(_middle(lows), _middle(highs))
        return cls(median, _interval(lows, highs, scale), len(values))

    def __str__(self) -> str:
        if self.interval is None:
            return f"{self.median} ({self.n} seed)"
        low, high = (number(end) for end in self.interval)
        return f"{self.median} [{low}, {high}] ({self.n} seeds)"


@dataclass(frozen=True)
class Rule:
    """Where the median must lie for a claim to hold.

    Attributes:
        low, high: the bounds of that region; None where it has none.
        scale: how values are compared.
    """

    low: float | None = None
    high: float | None = None
    scale: Scale = "linear"

    def judge(self, estimate: Estimate | None) -> Verdict:
        """The claim holds if the interval lies within the region, differs if it lies outside."""
        if estimate is None or estimate.interval is None:
            return "undecided"
        low, high = estimate.interval
        # A value on the bound of a region with one bound (a ratio of 1) tells nothing.
        one_sided = self.low is None or self.high is None
        above = self.low is None or (low > self.low if one_sided else low >= self.low)
        below = self.high is None or (high < self.high if one_sided else high <= self.high)
        if above and below:
            return "holds"
        outside = (self.low is not None and high < self.low) or (
            self.high is not None and low > self.high
        )
        return "differs" if outside else "undecided"

    def __str__(self) -> str:
        if self.low is not None and self.high is not None:
            region = f"within {number(self.low)} to {number(self.high)}"
        else:
            side = "above" if self.low is not None else "below"
            region = f"{side} {number(self.low if self.low is not None else self.high or 0.0)}"
        return (
            f"holds if the interval of the median lies {region}, differs if it lies outside, else "
            "undecided"
        )


def above(bound: float, scale: Scale = "linear") -> Rule:
    """The median is larger than this."""
    return Rule(low=bound, scale=scale)


def below(bound: float, scale: Scale = "linear") -> Rule:
    """The median is smaller than this."""
    return Rule(high=bound, scale=scale)


def within(low: float, high: float, scale: Scale = "linear") -> Rule:
    """The median is at least ``low`` and at most ``high``."""
    return Rule(low, high, scale)


#: What an accuracy, and what a correlation, can be.
A_SHARE, CORRELATION = Known(0.0, 1.0), Known(-1.0, 1.0)
ANYTHING = Known(-math.inf, math.inf)
#: Earlier than: a ratio of times, at least one of which a ticket may have.
EARLIER, LATER = above(1, "log"), below(1, "log")


@dataclass(frozen=True)
class Claim:
    """Something that the paper says.

    Attributes:
        name: short, and its item's own.
        text: what is said, in words of ours.
        source: version, figure or table.
        quantity: what is measured of each seed.
        rule: what decides.
        values: the quantity of each seed, from the item's runs.
        printed: the number that the paper gives; empty where it gives none.
        possible: the numbers that the quantity can be, where Student does not know.
    """

    name: str
    text: str
    source: str
    quantity: str
    rule: Rule
    values: "Callable[[Sweep], Mapping[object, Known]]"
    printed: str = ""
    possible: Known = ANYTHING

    def judge(self, sweep: "Sweep") -> "Judged":
        """What the runs say of it."""
        values = {str(seed): value for seed, value in self.values(sweep).items()}
        estimate = Estimate.of(list(values.values()), self.rule.scale) if values else None
        if estimate is not None and estimate.interval is not None:
            (low, high), (least, most) = estimate.interval, self.possible
            estimate = replace(estimate, interval=Known(max(low, least), min(high, most)))
        return Judged(self, values, estimate, self.rule.judge(estimate))


@dataclass(frozen=True)
class Judged:
    """A claim with its values by seed, their median, and the verdict."""

    claim: Claim
    values: Mapping[str, Known]
    estimate: Estimate | None
    verdict: Verdict

    def as_row(self) -> dict[str, object]:
        """As ``claims.json`` and a table hold it; an infinite bound is None."""
        estimate = self.estimate
        interval = estimate.interval if estimate else None
        return {
            "claim": self.claim.name,
            "text": self.claim.text,
            "source": self.claim.source,
            "quantity": self.claim.quantity,
            "rule": str(self.claim.rule),
            "paper": self.claim.printed,
            "verdict": self.verdict,
            "seeds": len(self.values),
            "median": str(estimate.median) if estimate else None,
            "median_low": _finite(estimate.median.low) if estimate else None,
            "median_high": _finite(estimate.median.high) if estimate else None,
            "low": _finite(interval.low) if interval else None,
            "high": _finite(interval.high) if interval else None,
            "values": {seed: [_finite(v.low), _finite(v.high)] for seed, v in self.values.items()},
        }


def sign_test_interval(n: int, confidence: float = _CONFIDENCE) -> tuple[int, float] | None:
    """Which of n ordered values bound the median: the dth from either end, and how surely.

    The median lies between the dth smallest and the dth largest of n values with probability
    1 − 2 P(B < d), B binomial with n and ½, whatever they are distributed like.

    Returns:
        d, from 1, and the confidence; None where none is as large as asked for.

    >>> sign_test_interval(3), sign_test_interval(6), sign_test_interval(6, 0.9)
    (None, (1, 0.96875), (1, 0.96875))
    """
    tail, best = 0.0, None
    for d in range(1, n // 2 + 1):
        tail += math.comb(n, d - 1) / 2**n
        if 1 - 2 * tail >= confidence:
            best = d, 1 - 2 * tail
    return best


def _interval(lows: np.ndarray, highs: np.ndarray, scale: Scale) -> Known | None:
    n = len(lows)
    if n < 2:
        return None
    if found := sign_test_interval(n):
        return Known(float(lows[found[0] - 1]), float(highs[n - found[0]]))
    low, high = _student(lows, scale)[0], _student(highs, scale)[1]
    return Known(min(low, float(lows[0])), max(high, float(highs[-1])))


def _student(values: np.ndarray, scale: Scale) -> tuple[float, float]:
    """Student's interval of the mean of ordered values; all numbers where one has no logarithm."""
    from scipy.stats import t

    if values[0] == values[-1]:  # without the rounding of a mean
        return float(values[0]), float(values[0])
    if not np.isfinite(values).all() or (scale == "log" and (values <= 0).any()):
        return (0.0 if scale == "log" else -math.inf), math.inf
    compared = np.log(values) if scale == "log" else values
    half = float(t.ppf((1 + _CONFIDENCE) / 2, len(values) - 1) * compared.std(ddof=1))
    ends = compared.mean() + np.array([-1, 1]) * half / math.sqrt(len(values))
    low, high = np.exp(ends) if scale == "log" else ends
    return float(low), float(high)


def _middle(ordered: np.ndarray) -> float:
    n = len(ordered)
    low, high = float(ordered[(n - 1) // 2]), float(ordered[n // 2])
    return low if low == high else (low + high) / 2


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
