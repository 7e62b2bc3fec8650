"""Medians over seeds, with intervals, for measured and for censored values.

**Censored values.** A value has two bounds (`Bounds`), which are equal if it was measured: t_gen of
a run that did not generalize within 60,000 steps is between 60,000 and infinity, and the ratio of
two such values is between the ratios of their bounds.

**The interval of the median.** From six seeds on it is the interval of the sign test: between two
of the ordered values, for any distribution, with 95 % or more. Fewer seeds have no such interval:
the range of three values has 75 %. The interval is then the wider, at either end, of the range and
of Student's 95 % interval of the mean (of logarithms, for ratios and times). The latter is wide for
three distant values (its factor is 4.3) and assumes nearly normal values. A bound replaces a
censored value. One seed has no interval.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self

import numpy as np

from mechgrok.formatting import number

#: Whether to compare values by ratio or by difference.
Comparison = Literal["log", "linear"]
#: The smallest number of seeds for which the sign test's interval reaches 95 %.
SIGN_TEST_FROM = 6
_CONFIDENCE = 0.95


class Bounds(NamedTuple):
    """The bounds of a number, which are equal if it was measured.

    >>> Bounds.exactly(300) / Bounds.beyond(60_000)
    Bounds(low=0.0, high=0.005)
    """

    low: float
    high: float

    @classmethod
    def exactly(cls, value: float) -> Self:
        """A measured number."""
        return cls(float(value), float(value))

    @classmethod
    def beyond(cls, value: float) -> Self:
        """A number above ``value``, such as t_gen of a run that stopped too early."""
        return cls(float(value), math.inf)

    def __truediv__(self, other: "Bounds") -> "Bounds":
        """The ratio of two non-negative numbers."""
        low = self.low / other.high if other.high else math.inf
        high = self.high / other.low if other.low else math.inf
        return Bounds(0.0 if math.isnan(low) else low, math.inf if math.isnan(high) else high)

    def as_json(self) -> list[float | None]:
        """Both bounds, with None for infinity."""
        return [value if math.isfinite(value) else None for value in self]

    @classmethod
    def from_json(cls, bounds: Sequence[float | None]) -> Self:
        """Read the result of `as_json`."""
        low, high = bounds
        return cls(-math.inf if low is None else low, math.inf if high is None else high)

    def __str__(self) -> str:
        low, high = map(number, self)
        if self.low == self.high:
            return low
        if math.isinf(self.high):
            return f"> {low}" if self.low > 0 else "unknown"
        return f"< {high}" if self.low <= 0 else f"{low} to {high}"


@dataclass(frozen=True)
class Estimate:
    """The median of a quantity over seeds, with its interval.

    Attributes:
        median: the bounds of the median.
        interval: its interval; None with fewer than two seeds.
        n: the number of seeds.
    """

    median: Bounds
    interval: Bounds | None
    n: int

    @classmethod
    def of(cls, values: Sequence[Bounds], scale: Comparison = "linear") -> Self:
        """The median of the values.

        Raises:
            ValueError: there are no values.
        """
        if not values:
            raise ValueError("The median needs at least one value.")
        lows, highs = np.sort(np.array(values, dtype=float), axis=0).T
        median = Bounds(float(np.median(lows)), float(np.median(highs)))
        return cls(median, _interval(lows, highs, scale), len(values))

    def as_row(self) -> dict[str, Any]:
        """The columns of ``claims.json``, with None for infinite bounds."""
        median_low, median_high = self.median.as_json()
        low, high = self.interval.as_json() if self.interval else (None, None)
        return {
            "seeds": self.n,
            "median": str(self.median),
            "median_low": median_low,
            "median_high": median_high,
            "low": low,
            "high": high,
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self | None:
        """Read a row of ``claims.json``; None if no seed has a value."""
        if row["median"] is None:
            return None
        median = Bounds.from_json((row["median_low"], row["median_high"]))
        interval = Bounds.from_json((row["low"], row["high"])) if row["seeds"] > 1 else None
        return cls(median, interval, row["seeds"])

    def __str__(self) -> str:
        if self.interval is None:
            return f"{self.median} ({self.n} seed)"
        low, high = map(number, self.interval)
        return f"{self.median} [{low}, {high}] ({self.n} seeds)"


def sign_test_interval(n: int, confidence: float = _CONFIDENCE) -> tuple[int, float] | None:
    """The order statistics that bound the median of n values, and their confidence.

    The median is between the dth smallest and the dth largest of n values with probability
    1 − 2 P(B < d), B binomial with n and ½, for any distribution.

    Returns:
        d, from 1, and the confidence; None if no d reaches the confidence.

    >>> sign_test_interval(3), sign_test_interval(6), sign_test_interval(6, 0.9)
    (None, (1, 0.96875), (1, 0.96875))
    """
    tail, best = 0.0, None
    for d in range(1, n // 2 + 1):
        tail += math.comb(n, d - 1) / 2**n
        if 1 - 2 * tail >= confidence:
            best = d, 1 - 2 * tail
    return best


def _interval(lows: np.ndarray, highs: np.ndarray, scale: Comparison) -> Bounds | None:
    n = len(lows)
    if n < 2:
        return None
    if sign_test := sign_test_interval(n):
        d = sign_test[0]
        return Bounds(float(lows[d - 1]), float(highs[n - d]))
    low, high = _student(lows, scale)[0], _student(highs, scale)[1]
    return Bounds(min(low, float(lows[0])), max(high, float(highs[-1])))


def _student(values: np.ndarray, scale: Comparison) -> tuple[float, float]:
    """Student's interval of the mean of ordered values; unbounded if a logarithm is undefined."""
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
