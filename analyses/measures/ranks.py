"""Rank correlation of two quantities."""

from typing import Any

import numpy as np
from jaxtyping import Float


def rank_correlation(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> float:
    """Spearman's ρ over finite pairs; NaN if either is constant or fewer than three are finite.

    The linear correlation of the ranks: 1 for a strictly increasing relation.

    Source: Spearman 1904, The proof and measurement of association between two things.

    >>> x = np.arange(5.0)
    >>> [round(rank_correlation(x, y), 6) for y in (np.exp(x), -np.sqrt(x), np.ones(5))]
    [1.0, -1.0, nan]
    """
    from scipy.stats import spearmanr  # slow to import

    finite = np.isfinite(x) & np.isfinite(y)
    x, y = x[finite], y[finite]
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    result: Any = spearmanr(x, y)
    return float(result.statistic)
