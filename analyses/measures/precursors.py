"""How early and how well a measure tells which runs generalize: statistics on plain arrays.

Runs of different tasks or networks are compared within their *stratum* only: a pair of runs counts
if both are in one stratum, and ranks are those within it.
"""

import math
from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Integer
from scipy import optimize, stats

#: The share of curves without a change for which `onset` may raise a false alarm, at most.
LEVEL = 0.05
#: The least number of checkpoints that make a past.
LEAST_PAST = 5
#: Spreads of the past below this share of the curve's range are rounding.
_ROUNDING = 1e-6
#: The standard normal's 97.5 % quantile.
_Z = 1.959963984540054


# --- onset --------------------------------------------------------------------------------------


def onset(curve: Float[np.ndarray, " step"]) -> int | None:
    """The first index at which a curve leaves its own past; None if it does not.

    The curve leaves its past x₁ … x_i at x_{i+1} if this value and the next are on one side beyond
    the prediction interval m ± c s √(1 + 1/i), with the mean m and the standard deviation s of the
    past and the quantile c of Student's distribution with i − 1 degrees of freedom. Its level is
    `LEVEL` divided by the number of tested indices.

    Why this rule: it uses the past alone, so it could be applied during training; and it detects a
    change of regime rather than a trend. A curve that drifts as i^a is √(2a + 1) standard
    deviations from the mean of its past, at any i, so no c above 3 detects a power law with a < 4.
    By the union bound at most `LEVEL` of all curves of independent normal values have an onset;
    since two values in sequence are required, far fewer do. Values of other distributions have
    other rates: see `false_alarms`.

    >>> onset(np.array([0.0] * 10 + [1.0] * 10)), onset(np.arange(100.0))
    (10, None)
    """
    return _onsets(curve[None])[0]


def false_alarms(curve: Float[np.ndarray, " step"], n: int = 200, seed: int = 0) -> float:
    """The share of ``n`` shuffles of a curve that have an `onset`.

    >>> bool(false_alarms(np.random.default_rng(0).normal(size=60)) <= LEVEL)
    True
    """
    generator = np.random.default_rng(seed)
    shuffled = generator.permuted(np.tile(curve, (n, 1)), axis=1)
    return float(np.mean([at is not None for at in _onsets(shuffled)]))


def _onsets(curves: Float[np.ndarray, "curve step"]) -> list[int | None]:
    n = curves.shape[1]
    if n < LEAST_PAST + 2:
        return [None] * len(curves)
    extent = np.ptp(curves, axis=1, keepdims=True)
    scaled = (curves - curves.mean(1, keepdims=True)) / np.where(extent > 0, extent, 1)
    size = np.arange(LEAST_PAST, n - 1)  # of the past of each tested index
    mean = scaled.cumsum(1)[:, size - 1] / size
    squares = np.square(scaled).cumsum(1)[:, size - 1]
    variance = (squares - size * mean**2) / (size - 1)
    spread = np.sqrt(np.maximum(variance, _ROUNDING**2) * (1 + 1 / size))
    now, after = ((scaled[:, size + k] - mean) / spread for k in (0, 1))
    limit = _limits(n)
    leaves = ((now > limit) & (after > limit)) | ((now < -limit) & (after < -limit))
    return [
        int(size[row.argmax()]) if found else None
        for row, found in zip(leaves, leaves.any(1), strict=True)
    ]


@cache
def _limits(n: int) -> Float[np.ndarray, " index"]:
    """The quantile of Student's distribution at each tested index of a curve of ``n`` values."""
    size = np.arange(LEAST_PAST, n - 1)
    return stats.t.isf(LEVEL / 2 / len(size), size - 1)


# --- ranks --------------------------------------------------------------------------------------


def centred_ranks(
    values: Float[np.ndarray, " run"], strata: Integer[np.ndarray, " run"]
) -> Float[np.ndarray, " run"]:
    """Ranks within each stratum, ties shared, minus their mean; 0 for NaN.

    >>> centred_ranks(np.array([1.0, 5.0, 3.0, 7.0]), np.array([0, 0, 0, 1])).tolist()
    [-1.0, 1.0, 0.0, 0.0]
    """
    ranks = np.zeros(len(values))
    for stratum in np.unique(strata):
        chosen = (strata == stratum) & ~np.isnan(values)
        ranks[chosen] = stats.rankdata(values[chosen]) - (chosen.sum() + 1) / 2
    return ranks


def stratified_rank_correlation(
    x: Float[np.ndarray, " run"],
    y: Float[np.ndarray, " run"],
    strata: Integer[np.ndarray, " run"],
    given: Float[np.ndarray, " run"] | None = None,
) -> float:
    """Spearman's correlation of ranks within strata, or the partial one given a third variable.

    ρ_xy|z = (ρ_xy − ρ_xz ρ_yz) / √((1 − ρ_xz²) (1 − ρ_yz²)) (Kendall 1942 for ranks). Runs with
    NaN are excluded.

    Returns:
        NaN with fewer than four runs, if a variable is constant, or if z has the order of x or y.

    >>> x, strata = np.arange(6.0), np.array([0, 0, 0, 1, 1, 1])
    >>> round(stratified_rank_correlation(x, x % 3, strata), 6)
    1.0
    """
    variables = [x, y] if given is None else [x, y, given]
    known = ~np.isnan(variables).any(0)
    if known.sum() < 4:
        return math.nan
    ranks = np.array([centred_ranks(v[known], strata[known]) for v in variables])
    lengths = np.linalg.norm(ranks, axis=1)
    if (lengths == 0).any():
        return math.nan
    correlations = ranks @ ranks.T / np.outer(lengths, lengths)
    if given is None:
        return float(correlations[0, 1])
    (xy, xz), yz = correlations[0, 1:], correlations[1, 2]
    unexplained = (1 - xz**2) * (1 - yz**2)
    return float((xy - xz * yz) / math.sqrt(unexplained)) if unexplained > 1e-9 else math.nan


# --- telling two outcomes apart ------------------------------------------------------------------


class Auroc(NamedTuple):
    """The area under the ROC curve with a 95 % interval, and the numbers of runs.

    Attributes:
        value: the probability that the value of a positive run exceeds that of a negative run of
            its stratum, ties counted as one half; NaN without such a pair.
        low, high: the interval.
        positive, negative: the numbers of runs with a value.

    >>> area = auroc(np.arange(8.0), np.arange(8) >= 4, np.zeros(8, dtype=int))
    >>> area.value, round(area.low, 2), area.high
    (1.0, 0.58, 1.0)
    """

    value: float
    low: float
    high: float
    positive: int
    negative: int


def auroc(
    values: Float[np.ndarray, " run"],
    is_positive: Bool[np.ndarray, " run"],
    strata: Integer[np.ndarray, " run"],
) -> Auroc:
    """How well values tell positive runs from negative ones.

    The interval is Newcombe's (2006, method 5): the θ with |θ − A| ≤ 1.96 √V(θ), with Hanley and
    McNeil's variance for m positive and n negative runs

        V(θ) = θ (1 − θ) / (m n) · (1 + N ((1 − θ) / (2 − θ) + θ / (1 + θ))),  N = (m + n) / 2 − 1.

    Unlike a bootstrap and DeLong's variance it has a width where A is 0 or 1, as for a perfect
    measure on few runs. Over strata, A and V are weighted by their numbers of pairs.

    >>> auroc(np.ones(4), np.array([True, True, False, False]), np.zeros(4, dtype=int)).value
    0.5
    """
    known = ~np.isnan(values)
    sizes, wins = [], 0.0
    for stratum in np.unique(strata):
        here = known & (strata == stratum)
        above, below = values[here & is_positive], values[here & ~is_positive]
        if len(above) and len(below):
            sizes.append((len(above), len(below)))
            difference = np.sign(above[:, None] - below)
            wins += float((difference + 1).sum() / 2)
    counts = int((known & is_positive).sum()), int((known & ~is_positive).sum())
    if not sizes:
        return Auroc(math.nan, math.nan, math.nan, *counts)
    value = wins / sum(m * n for m, n in sizes)
    return Auroc(value, 1 - _upper_end(1 - value, sizes), _upper_end(value, sizes), *counts)


def _upper_end(value: float, sizes: list[tuple[int, int]]) -> float:
    """The largest θ with θ − value ≤ 1.96 √V(θ)."""
    if value >= 1:
        return 1.0
    pairs = sum(m * n for m, n in sizes)

    def excess(theta: float) -> float:
        odds = (1 - theta) / (2 - theta) + theta / (1 + theta)
        summed = sum(m * n * (1 + ((m + n) / 2 - 1) * odds) for m, n in sizes)
        return theta - value - _Z * math.sqrt(max(theta * (1 - theta) * summed, 0)) / pairs

    # Just above 0 the variance is smaller than any start of the bracket resolves.
    return float(optimize.brentq(excess, max(value, 1e-12), 1))


class Chance(NamedTuple):
    """Measures compared with permuted outcomes.

    Attributes:
        p: the two-sided p-value of each measure; NaN for a constant one.
        p_family: the same, corrected for the number of measures: the share of permutations in which
            the most extreme measure is at least as extreme.
        expected, at_most: the mean number of measures with p ≤ 0.05 under permuted outcomes, and
            its 95 % quantile.

    >>> values, strata = np.arange(8.0)[:, None], np.zeros(8, dtype=int)
    >>> chance = permutation_test(values, np.arange(8) >= 4, strata)
    >>> bool(chance.p[0] == chance.p_family[0] < 0.05)  # 2 / 70
    True
    """

    p: Float[np.ndarray, " measure"]
    p_family: Float[np.ndarray, " measure"]
    expected: float
    at_most: int


def permutation_test(
    values: Float[np.ndarray, "run measure"],
    is_positive: Bool[np.ndarray, " run"],
    strata: Integer[np.ndarray, " run"],
    n: int = 2000,
    seed: int = 0,
) -> Chance:
    """Compare measures with ``n`` permutations of the outcomes within strata.

    The statistic is the sum of centred ranks of the positive runs (Wilcoxon's), divided by its
    standard deviation over permutations. The correction is Westfall and Young's (1993), which
    respects that measures are correlated.

    >>> values, strata = np.ones((8, 1)), np.zeros(8, dtype=int)
    >>> permutation_test(values, np.arange(8) >= 4, strata).p
    array([nan])
    """
    ranks = np.stack([centred_ranks(column, strata) for column in values.T], axis=1)
    generator = np.random.default_rng(seed)
    outcomes = np.tile(is_positive.astype(float), (n + 1, 1))  # the first row is the observed one
    for stratum in np.unique(strata):
        here = np.flatnonzero(strata == stratum)
        outcomes[1:, here] = generator.permuted(outcomes[1:, here], axis=1)
    sums = outcomes @ ranks
    spread = sums[1:].std(0)
    varies = spread > 0
    extremes = np.abs(sums - sums[1:].mean(0)) / np.where(varies, spread, 1)
    extremes = np.where(varies, extremes, 0).round(9)  # equal sums of ranks are ties
    rank = stats.rankdata(-extremes, method="max", axis=0)  # permutations at least as extreme
    largest = extremes.max(1, initial=0)
    family = (largest[:, None] >= extremes[0]).mean(0)
    passed = ((rank[1:] <= 0.05 * (n + 1)) & varies).sum(1)
    return Chance(
        np.where(varies, rank[0] / (n + 1), math.nan),
        np.where(varies, family, math.nan),
        float(passed.mean()),
        int(np.quantile(passed, 0.95)),
    )
