"""Whether two quantities rise together."""

from typing import Any

import numpy as np
from jaxtyping import Float


def rank_correlation(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> float:
    """Spearman's ρ where both are numbers; NaN where either is constant or fewer than three are.

    The linear correlation of their ranks, 1 where one rises whenever the other does.

    Source: Spearman 1904, The proof and measurement of association between two things.

    >>> x = np.arange(5.0)
    >>> [round(rank_correlation(x, y), 6) for y in (np.exp(x), -np.sqrt(x), np.ones(5))]
    [1.0, -1.0, nan]
    """
    from scipy.stats import spearmanr  # Only who correlates waits for it.

    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    found: Any = spearmanr(x, y)
    return float(found.statistic)
