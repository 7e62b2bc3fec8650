"""Claims of a paper, and their verdicts: a claim holds, differs, or is undecided.

A claim consists of the paper's statement and its source, a quantity that tests it, and a rule,
best fixed before any result is known. The quantity has a value for each seed, and the rule sets the
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from mechgrok.analyses.papers.estimates import Bounds, Comparison, Estimate, number
from mechgrok.analyses.papers.quantities import Quantity

if TYPE_CHECKING:
    from mechgrok.sweeps import Sweep

Verdict = Literal["holds", "differs", "undecided"]


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

    def judge(self, estimate: Estimate | None) -> Verdict:
        """The verdict: holds if the interval is inside the region, differs if it is outside."""
        if estimate is None or estimate.interval is None:
            return "undecided"
        low, high = estimate.interval
        # For a region with one bound, a value on the bound (a ratio of 1) is undecided.
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
            f"holds if the interval of the median is {region}, differs if it is outside, else "
            "undecided"
        )


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


@dataclass(frozen=True)
class Claim:
    """A statement of the paper.

    Attributes:
        text: the statement, paraphrased.
        source: version, figure or table.
        quantity: a description of the quantity of each seed.
        rule: decides the verdict.
        values: computes the quantity of each seed from the item's runs.
        printed: the number in the paper, if any.
    """

    text: str
    source: str
    quantity: str
    rule: Rule
    values: Quantity
    printed: str = ""

    def judge(self, sweep: "Sweep") -> dict[str, Any]:
        """The claim with its verdict and the values by seed, as a row of ``claims.json``."""
        values = {str(seed): value for seed, value in self.values(sweep).items()}
        estimate = self._estimate(list(values.values()))
        empty = {"seeds": 0} | dict.fromkeys(("median", "median_low", "median_high", "low", "high"))
        return {
            "text": self.text,
            "source": self.source,
            "quantity": self.quantity,
            "rule": str(self.rule),
            "paper": self.printed,
            "verdict": self.rule.judge(estimate),
            **(estimate.as_row() if estimate else empty),
            "values": {seed: value.as_json() for seed, value in values.items()},
        }

    def _estimate(self, values: list[Bounds]) -> Estimate | None:
        """The median, with its interval clipped to the possible values of the quantity."""
        if not values:
            return None
        estimate = Estimate.of(values, self.rule.scale)
        if estimate.interval is None:
            return estimate
        (low, high), (least, most) = estimate.interval, self.values.possible
        return replace(estimate, interval=Bounds(max(low, least), min(high, most)))
