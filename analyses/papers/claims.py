"""Claims of a paper, and the verdict of runs: a claim holds, differs, or is undecided.

A claim is data: what the paper says and where, the quantity that would show it, and a rule that
was fixed before any result was seen. The quantity has a value for each seed, and the rule says
where the interval of their median (`mechgrok.analyses.papers.estimates`) must lie.
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
    """Where the median must lie for a claim to hold.

    Attributes:
        low, high: the bounds of that region; None where it has none.
        scale: how values are compared.
    """

    low: float | None = None
    high: float | None = None
    scale: Comparison = "linear"

    def judge(self, estimate: Estimate | None) -> Verdict:
        """The claim holds if the interval lies within the region, differs if it lies outside."""
        if estimate is None or estimate.interval is None:
            return "undecided"
        low, high = estimate.interval
        # A value on the bound of a region with one bound (a ratio of 1) decides nothing.
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


def above(bound: float, scale: Comparison = "linear") -> Rule:
    """The median is larger than this."""
    return Rule(low=bound, scale=scale)


def below(bound: float, scale: Comparison = "linear") -> Rule:
    """The median is smaller than this."""
    return Rule(high=bound, scale=scale)


def within(low: float, high: float, scale: Comparison = "linear") -> Rule:
    """The median is at least ``low`` and at most ``high``."""
    return Rule(low, high, scale)


#: Of a ratio of two times: the second comes earlier than the first, or later.
EARLIER, LATER = above(1, "log"), below(1, "log")


@dataclass(frozen=True)
class Claim:
    """A statement of the paper.

    Attributes:
        text: the statement, paraphrased.
        source: version, figure or table.
        quantity: what is measured for each seed.
        rule: what decides.
        values: the quantity of each seed, from the item's runs.
        printed: the number in the paper; empty where it prints none.
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
        """The median; its interval ends where the quantity can be no smaller or larger."""
        if not values:
            return None
        estimate = Estimate.of(values, self.rule.scale)
        if estimate.interval is None:
            return estimate
        (low, high), (least, most) = estimate.interval, self.values.possible
        return replace(estimate, interval=Bounds(max(low, least), min(high, most)))
