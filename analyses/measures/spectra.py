"""Random matrix theory of weight spectra: power-law tails and the Marchenko–Pastur bulk."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize_scalar
from sklearn.neighbors import KernelDensity

#: The fewest eigenvalues of a matrix to fit.
FEWEST = 8
#: Eigenvalues up to this one count as zero, as in ``weightwatcher``.
SMALLEST = 1e-5
#: The loss of a bulk that the density's peak is outside of.
_NO_FIT = 1e9


class PowerLaw(NamedTuple):
    """A power law ρ(λ) ∝ λ^−α of the values from ``start`` on.

    Attributes:
        alpha: the exponent α.
        start: the first value of the tail.
        distance: the Kolmogorov–Smirnov distance between tail and fit.
        n_tail: the number of values in the tail.

    >>> PowerLaw(3.0, 0.5, 0.02, 400).alpha
    3.0
    """

    alpha: float
    start: float
    distance: float
    n_tail: int


def fit_power_law(values: Float[np.ndarray, " n"]) -> PowerLaw:
    """The power law of the upper tail of positive values, by maximum likelihood.

    For each start x, α = 1 + n / Σ ln(x_i / x) over the n values x_i ≥ x; the start with the
    smallest Kolmogorov–Smirnov distance is chosen. The tail has at least two values. NaN for fewer
    than `FEWEST` values above `SMALLEST`.

    Source: Clauset, Shalizi and Newman 2009, "Power-law distributions in empirical data", as in
    ``weightwatcher`` (Martin and Mahoney 2021).

    >>> quantiles = (np.arange(2000) + 0.5) / 2000
    >>> round(fit_power_law((1 - quantiles) ** (-1 / 2)).alpha, 1)  # the quantiles of α = 3
    3.0
    """
    values = np.sort(values[values > SMALLEST])
    n = len(values)
    if n < FEWEST or values[0] == values[-1]:
        return PowerLaw(np.nan, np.nan, np.nan, 0)
    logs = np.log(values)
    size = n - np.arange(n - 1)  # of the tail from each start
    excess = np.cumsum(logs[::-1])[::-1][:-1] - size * logs[:-1]
    alphas = 1 + size / np.maximum(excess, 1e-300)
    distances = [
        np.abs(
            1 - np.exp((1 - alpha) * (logs[at:] - logs[at])) - np.arange(n - at) / (n - at)
        ).max()
        for at, alpha in enumerate(alphas)
    ]
    best = int(np.argmin(distances))
    return PowerLaw(float(alphas[best]), float(values[best]), float(distances[best]), n - best)


class Bulk(NamedTuple):
    """The Marchenko–Pastur bulk of a random matrix's eigenvalues, scaled to a mean of 1.

    Attributes:
        sigma: the fitted standard deviation of the entries; 1 without outliers.
        edge: the upper end of the bulk plus its fluctuation, in units of the mean eigenvalue.
        outliers: the share of eigenvalues above the edge.

    >>> Bulk(1.0, 2.25, 0.0).edge
    2.25
    """

    sigma: float
    edge: float
    outliers: float


def fit_bulk(evals: Float[np.ndarray, " n"], ratio: float, smaller: int) -> Bulk:
    """Fit the Marchenko–Pastur law to the eigenvalues of random matrices.

    With eigenvalues scaled to mean 1, σ minimizes the squared difference between the law's density
    and a kernel estimate (linear kernel, bandwidth 0.1), on the 1,000 places from 0 to the largest
    at which the estimate exceeds 0.01; a few outliers inflate the variance of all entries, but not
    this fit. NaN if no bulk fits. The edge is λ₊ + √Δ, λ₊ = σ² (1 + 1/√Q)² and Δ = λ₊^⅔ M^−⅔ / √Q.

    Args:
        evals: eigenvalues of Wᵀ W, of one matrix or of several of one shape.
        ratio: Q = N / M ≥ 1, the matrix's longer side over its shorter.
        smaller: M.

    Source: ``weightwatcher`` 0.7.7 (``mp_fit``), as in Prakash and Martin 2026 (arXiv 2602.02859).
    For a square matrix, its quarter-circle law is the law of singular values, here in the same
    units.

    >>> evals = np.linalg.svd(np.random.default_rng(0).normal(size=(50, 200)))[1] ** 2
    >>> bulk = fit_bulk(evals, 4.0, 50)
    >>> round(bulk.sigma, 1), bulk.outliers
    (1.0, 0.0)
    """
    evals = evals / evals.mean()
    data = np.sqrt(evals) if ratio == 1 else evals
    places = np.linspace(0, data.max() + 0.5, 1000)
    estimate = KernelDensity(kernel="linear", bandwidth=0.1).fit(data[:, None])
    density = np.exp(estimate.score_samples(places[:, None]))
    places, density = places[density > 0.01], density[density > 0.01]
    if not len(places):
        return Bulk(np.nan, np.nan, np.nan)
    peak = places[density.argmax()]

    def loss(sigma: float) -> float:
        low, high = ((sigma * (1 + sign / ratio**0.5)) ** 2 for sign in (-1, 1))
        ends = (0, 2 * sigma) if ratio == 1 else (low, high)
        if not ends[0] <= peak <= ends[1] <= places[-1]:
            return _NO_FIT
        return float(np.square(_density(places, sigma, ratio) - density).sum())

    largest = (evals.max() ** 0.5) / (1 + ratio**-0.5)
    grid = np.arange(0.05, 2, 0.01) * largest
    losses = [loss(sigma) for sigma in grid]
    if min(losses) == _NO_FIT:
        return Bulk(np.nan, np.nan, np.nan)
    best = grid[np.argmin(losses)]
    near = (best - 0.01 * largest, best + 0.01 * largest)
    refined = minimize_scalar(loss, bounds=near, method="bounded")
    sigma = float(refined.x) if refined.fun < loss(best) else float(best)
    high = (sigma * (1 + ratio**-0.5)) ** 2
    edge = high + (high ** (2 / 3) * smaller ** (-2 / 3) / ratio**0.5) ** 0.5
    return Bulk(sigma, edge, float((evals > edge).mean()))


def _density(
    places: Float[np.ndarray, " place"], sigma: float, ratio: float
) -> Float[np.ndarray, " place"]:
    """The Marchenko–Pastur density of eigenvalues; of singular values for a square matrix."""
    if ratio == 1:
        return np.sqrt(np.maximum(4 * sigma**2 - places**2, 0)) / (np.pi * sigma**2)
    low, high = ((sigma * (1 + sign / ratio**0.5)) ** 2 for sign in (-1, 1))
    inside = np.maximum((high - places) * (places - low), 0)
    return ratio * np.sqrt(inside) / (2 * np.pi * sigma**2 * np.maximum(places, 1e-12))
