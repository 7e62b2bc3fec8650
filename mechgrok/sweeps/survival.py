"""Survival analysis of milestones over many runs, some of which ended before reaching them.

A run that has not generalized within N steps shows only that t_gen > N: its t_gen is
*right-censored* at N. Medians come from the Kaplan–Meier estimate of S(t), the share of runs that
have not reached the milestone by step t. From six runs on the median has a 95 % interval; fewer
runs have their range instead, which has no known coverage.

Source: Kaplan and Meier 1958; Brookmeyer and Crowley 1982 for the interval of the median.
"""

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Self, TypeVar

from mechgrok.formatting import number

if TYPE_CHECKING:
    import pandas as pd

Group = TypeVar("Group", bound=Hashable)
#: The least number of runs for an interval of the median.
INTERVAL_FROM = 6
#: The standard normal's 97.5 % quantile.
_Z = 1.959963984540054


@dataclass(frozen=True)
class TimeToEvent:
    """Statistics of the time to an event over several runs.

    Attributes:
        n: the number of runs.
        n_reached: the number of runs with the event.
        median: the first step with S(t) ≤ ½; infinite if there is none.
        low, high: from six runs on the 95 % interval of the median, otherwise the range of the runs
            (`is_range`); infinite for an open end, NaN for one run.
        mean, sd: mean and standard deviation (with n − 1) of all runs; None if a run is censored,
            and sd for a single run.
        horizon: the last step of the longest censored run; None without any.
    """

    n: int
    n_reached: int
    median: float
    low: float
    high: float
    mean: float | None
    sd: float | None
    horizon: float | None

    @property
    def is_range(self) -> bool:
        """Whether ``low`` and ``high`` are the range, because there are fewer than six runs."""
        return self.n < INTERVAL_FROM

    @classmethod
    def of(cls, reached: Sequence[float | None], last: Sequence[float]) -> Self:
        """The statistics of several runs.

        Args:
            reached: the step of the event in each run; None (or NaN) without the event.
            last: the last step of each run, at which a run without the event is censored.
        """
        steps = [float(r) for r in reached if r is not None and not math.isnan(r)]
        ends = [
            float(end) for r, end in zip(reached, last, strict=True) if r is None or math.isnan(r)
        ]
        n = len(steps) + len(ends)
        if not n:
            return cls(0, 0, math.nan, math.nan, math.nan, None, None, None)
        curve = survival(steps, ends)
        if n >= INTERVAL_FROM:
            low, high = (_first_at_half(_bound(curve, sign)) for sign in (1, -1))
        else:
            low, high = min([*steps, *ends]), math.inf if ends else max(steps)
        mean = sum(steps) / n if not ends else None
        return cls(
            n,
            len(steps),
            _first_at_half([(step, share) for step, share, _ in curve]),
            low if n > 1 else math.nan,
            high if n > 1 else math.nan,
            mean,
            None
            if mean is None or n < 2
            else math.sqrt(sum((step - mean) ** 2 for step in steps) / (n - 1)),
            max(ends, default=None),
        )

    def __str__(self) -> str:
        """Format the median with its interval, ``13,370 [11,600, 20,100]``, or with the range of
        fewer than six runs, ``13,370 (11,600 to 20,100)``."""
        if not self.n:
            return "—"
        if not self.n_reached:
            return f"not within {number(self.horizon or 0)}"
        median = _step(self.median, self.horizon)
        if math.isnan(self.low):
            return median
        low, high = _step(self.low), _step(self.high)
        return f"{median} ({low} to {high})" if self.is_range else f"{median} [{low}, {high}]"


def time_to_event(table: "pd.DataFrame", milestone: str) -> TimeToEvent:
    """The time to a milestone over the runs of a table.

    Args:
        table: a row for each run, with the columns ``step`` (of its last evaluation), ``t_mem`` and
            ``milestone``.
        milestone: "t_mem", "t_gen", "t_gen_sustained" or "tau_grok". A run that ends below the
            criterion is censored for the sustained t_gen; one that ends above it has a value, which
            holds for the steps of the run. τ is censored at the last step over t_mem, and runs
            without t_mem are excluded.
    """
    last = table["step"].astype(float)
    if milestone == "tau_grok":
        t_mem = table["t_mem"].astype(float)
        table, last = table[t_mem > 0], (last / t_mem)[t_mem > 0]
    reached = table[milestone].astype(float)
    return TimeToEvent.of(reached.to_list(), last.to_list())


def times_by_group(
    table: "pd.DataFrame", groups: Mapping[Group, Sequence[str]], milestone: str
) -> dict[Group, TimeToEvent]:
    """`time_to_event` in each group, given by the index labels of its rows."""
    return {key: time_to_event(table.loc[list(names)], milestone) for key, names in groups.items()}


def _step(step: float, horizon: float | None = None) -> str:
    if math.isinf(step) and horizon is not None:
        return f"> {number(horizon)}"
    return "—" if math.isnan(step) else number(step)


def survival(
    steps: Sequence[float], ends: Sequence[float]
) -> list[tuple[float, Fraction, Fraction]]:
    """The exact Kaplan–Meier estimate of S(t) at the step of each event.

    S(t) = Π (1 − d_i / n_i) over the steps t_i ≤ t, with d_i events among the n_i runs that have
    neither had the event nor ended before t_i; its variance follows from Greenwood's sum
    Σ d_i / (n_i (n_i − d_i)) over the steps with S > 0.

    Args:
        steps: the steps of the events.
        ends: the last steps of the censored runs.

    Returns:
        Step, S and Greenwood's sum, by step.

    >>> [(step, str(share)) for step, share, _ in survival([10, 20, 30], [15])]
    [(10, '3/4'), (20, '3/8'), (30, '0')]
    """
    share, greenwood, curve = Fraction(1), Fraction(0), []
    for step, events in sorted(Counter(steps).items()):
        at_risk = sum(other >= step for other in steps) + sum(end >= step for end in ends)
        share *= Fraction(at_risk - events, at_risk)
        if share:
            greenwood += Fraction(events, at_risk * (at_risk - events))
        curve.append((step, share, greenwood))
    return curve


def _first_at_half(curve: "Sequence[tuple[float, Fraction | float]]") -> float:
    return next((step for step, share in curve if share <= Fraction(1, 2)), math.inf)


def _bound(
    curve: Sequence[tuple[float, Fraction, Fraction]], sign: int
) -> list[tuple[float, float]]:
    """The lower (sign 1) or upper (−1) end of the log–log 95 % band of S(t).

    S^exp(± z √(Greenwood's sum) / ln S); 0 where S is 0.
    """
    return [
        (step, float(share) ** math.exp(-sign * _Z * math.sqrt(greenwood) / math.log(share)))
        if share
        else (step, 0.0)
        for step, share, greenwood in curve
    ]
