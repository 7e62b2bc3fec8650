"""When things happen in many runs, of which some were stopped before it happened.

A run that has not generalized within N steps tells that t_gen > N, not that it never would, and not
nothing: its t_gen is *right-censored* at N. Medians and their intervals come from the Kaplan–Meier
estimate of S(t), the share of runs in which it has not happened by step t.

Source: Kaplan and Meier 1958; Brookmeyer and Crowley 1982 for the interval of the median.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Waiting:
    """How long something took over several runs.

    Attributes:
        n: the runs.
        n_reached: those in which it happened.
        median: the first step at which S(t) ≤ ½; infinite where half of the runs never got there.
        low, high: the 95 % interval of the median; infinite where its end is not reached.
        mean, sd: of all runs (sd with n − 1); None where one is censored, and sd for a single run.
        horizon: the last step of the longest run in which it did not happen; None if there is none.
    """

    n: int
    n_reached: int
    median: float
    low: float
    high: float
    mean: float | None
    sd: float | None
    horizon: float | None

    @classmethod
    def of(cls, reached: Sequence[float | None], last: Sequence[float]) -> Self:
        """The statistics of several runs.

        Args:
            reached: the step at which it happened in each run; None (or NaN) where it did not.
            last: the last step of each run, at which those are censored.
        """
        from scipy.stats import CensoredData, ecdf

        happened = np.array([math.nan if step is None else step for step in reached], dtype=float)
        ends = np.array(last, dtype=float)
        censored = np.isnan(happened)
        steps, horizon = happened[~censored], ends[censored]
        if not len(happened):
            return cls(0, 0, math.nan, math.nan, math.nan, None, None, None)
        if not len(steps):
            unknown = (math.inf, float(horizon.min()), math.inf)
            return cls(len(happened), 0, *unknown, None, None, float(horizon.max()))
        survival = ecdf(CensoredData(uncensored=steps, right=horizon)).sf
        low, high = _median_interval(survival, len(happened))
        complete = not censored.any()
        return cls(
            len(happened),
            len(steps),
            _first_at_half(survival.quantiles, survival.probabilities),
            low,
            high,
            float(steps.mean()) if complete else None,
            float(steps.std(ddof=1)) if complete and len(steps) > 1 else None,
            float(horizon.max()) if len(horizon) else None,
        )

    def __str__(self) -> str:
        """The median with its interval, as a table shows it: ``13,370 [11,600, 20,100]``."""
        if not self.n:
            return "—"
        if not self.n_reached:
            return f"not within {_number(self.horizon or 0)}"
        told = _step(self.median, self.horizon)
        return told if math.isnan(self.low) else f"{told} [{_step(self.low)}, {_step(self.high)}]"


def waiting_in(table: "pd.DataFrame", milestone: str) -> Waiting:
    """How long t_mem, t_gen or tau_grok took in the runs of a table.

    Args:
        table: with a row for each run and the columns ``step`` (of its last evaluation), ``t_mem``
            and ``milestone``.
        milestone: "t_mem", "t_gen" or "tau_grok". τ is censored at the last step over t_mem; runs
            without t_mem tell nothing of it and are left out.
    """
    last = table["step"].astype(float)
    if milestone == "tau_grok":
        t_mem = table["t_mem"].astype(float)
        table, last = table[t_mem > 0], (last / t_mem)[t_mem > 0]
    reached = table[milestone].astype(float)
    return Waiting.of(reached.to_list(), last.to_list())


def _step(step: float, horizon: float | None = None) -> str:
    if math.isinf(step):
        return "∞" if horizon is None else f"> {_number(horizon)}"
    return "—" if math.isnan(step) else _number(step)


def _number(number: float) -> str:
    """Steps without decimals; a ratio below 100 with three digits."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _first_at_half(steps: np.ndarray, survival: np.ndarray) -> float:
    below = np.flatnonzero(survival <= 0.5)
    return float(steps[below[0]]) if len(below) else math.inf


def _median_interval(survival: object, n: int) -> tuple[float, float]:
    """The steps between which the 95 % band of S(t) (log–log) crosses ½: Brookmeyer and Crowley.

    With fewer than three runs the band says nothing.
    """
    import warnings

    if n < 3:
        return math.nan, math.nan
    with warnings.catch_warnings():
        # The band is undefined where S(t) is 1 or 0; there S itself is taken.
        warnings.simplefilter("ignore", RuntimeWarning)
        band = survival.confidence_interval(0.95, method="log-log")  # type: ignore[attr-defined]
    steps, itself = survival.quantiles, survival.probabilities  # type: ignore[attr-defined]
    low, high = (
        np.where(np.isnan(side.probabilities), itself, side.probabilities)
        for side in (band.low, band.high)
    )
    return _first_at_half(steps, low), _first_at_half(steps, high)
