"""Medians over seeds, with intervals, for measured and for censored values.

**Censored values.** A value has two bounds (`Bounds`), which are equal if it was measured: t_gen of
a run that did not generalize within 60,000 steps is between 60,000 and infinity, and the ratio of
two such values is between the ratios of their bounds.

**The interval of the median.** As for `mechgrok.sweeps.TimeToEvent`, six values have a 95 %
interval, and fewer have their range instead. The interval is that of the sign test: between two of
the ordered values, for any distribution, with 95 % or more. (`TimeToEvent` has the interval of
Brookmeyer and Crowley, which needs one time for each run; a ratio of censored times has none.) The
range of three, four or five values contains the median in 75, 87.5 and 94 % of cases.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self

import numpy as np

from mechgrok.formatting import number
from mechgrok.sweeps.survival import INTERVAL_FROM

#: Whether to compare values by ratio or by difference.
Comparison = Literal["log", "linear"]
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
        interval: from six values on its 95 % interval, otherwise the range of the values
            (`is_range`); None for one value.
        is_range: whether ``interval`` is the range.
    """

    median: Bounds
    interval: Bounds | None
    is_range: bool

    @classmethod
    def of(cls, values: Sequence[Bounds], *, as_range: bool = False) -> Self:
        """The median of the values, with the interval, or with the range.

        Raises:
            ValueError: there are no values.
        """
        if not values:
            raise ValueError("The median needs at least one value.")
        lows, highs = np.sort(np.array(values, dtype=float), axis=0).T
        median = Bounds(float(np.median(lows)), float(np.median(highs)))
        is_range = as_range or len(values) < INTERVAL_FROM
        d, _ = (None if is_range else sign_test_interval(len(values))) or (1, 0.0)
        interval = Bounds(float(lows[d - 1]), float(highs[-d])) if len(values) > 1 else None
        return cls(median, interval, is_range)

    def as_row(self) -> dict[str, Any]:
        """The columns of ``claims.json``, with None for infinite bounds."""
        median_low, median_high = self.median.as_json()
        low, high = self.interval.as_json() if self.interval else (None, None)
        return {
            "median": str(self.median),
            "median_low": median_low,
            "median_high": median_high,
            "low": low,
            "high": high,
            "is_range": self.is_range,
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self | None:
        """Read a row of ``claims.json``; None if no seed has a value."""
        if row["median"] is None:
            return None
        median = Bounds.from_json((row["median_low"], row["median_high"]))
        several = len(row["values"]) > 1
        interval = Bounds.from_json((row["low"], row["high"])) if several else None
        return cls(median, interval, row.get("is_range", row["seeds"] < INTERVAL_FROM))

    def __str__(self) -> str:
        """Format the median as `TimeToEvent` does: ``3 [2, 5]``, or ``3 (2 to 5)`` for a range."""
        if self.interval is None:
            return str(self.median)
        low, high = map(number, self.interval)
        return (
            f"{self.median} ({low} to {high})"
            if self.is_range
            else f"{self.median} [{low}, {high}]"
        )


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
