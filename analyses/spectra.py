"""How heavy are the tails of the weights' spectra? Exponent α, spikes and correlation traps.

The eigenvalues of Wᵀ W of a random matrix fill the Marchenko–Pastur bulk; training adds correlated
directions, spikes beyond its edge, and a heavy tail ρ(λ) ∝ λ^−α. By the theory of heavy-tailed
self-regularization a layer is best at α = 2, and below 2 it is overfitted (Martin and Mahoney
2021). A correlation trap is an eigenvalue beyond the edge that *remains when the entries of W are
shuffled*: single entries are then so large that they dominate. Long after grokking, test accuracy
can collapse while the training set stays learned; traps appear and α leaves 2 (Prakash and Martin
2026, arXiv 2602.02859 and 2605.12394). Neither needs data.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Annotated, Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from jaxtyping import Float

from mechgrok.analyses.drawing import LogAxis, Measured, Panels, draw_weights
from mechgrok.analyses.measures.checks import check_at_least
from mechgrok.analyses.measures.finite import select_finite_steps
from mechgrok.analyses.measures.formats import format_change, format_course, with_skipped_note
from mechgrok.analyses.measures.spacing import log_spaced
from mechgrok.analyses.measures.spectra import FEWEST, SMALLEST, fit_bulk, fit_power_law
from mechgrok.results.variables import Variable, described
from mechgrok.runs import Run


def applies(run: Run) -> str | None:
    """Requires a matrix with at least eight rows and columns."""
    if _matrices(run):
        return None
    return f"It has no matrix with {FEWEST} rows and columns, the fewest for a spectrum."


VARIABLES = {
    "alpha": Variable(
        "step, weight", "none", "exponent of the power law ρ(λ) ∝ λ^−α of the eigenvalues' tail"
    ),
    "mean_alpha": Variable("step", "none", "mean of alpha over the matrices"),
    "alpha_error": Variable(
        "step", "none", "mean of |alpha − 2| over the matrices: the distance from the ideal tail"
    ),
    "distance": Variable(
        "step, weight", "share", "Kolmogorov–Smirnov distance between the tail and the power law"
    ),
    "tail": Variable("step, weight", "share", "share of the eigenvalues in the tail"),
    "spikes": Variable(
        "step, weight",
        "eigenvalues",
        "number of eigenvalues beyond the Marchenko–Pastur edge of the shuffled matrix",
    ),
    "total_spikes": Variable("step", "eigenvalues", "sum of spikes over the matrices"),
    "traps": Variable(
        "step, weight",
        "eigenvalues",
        "number of eigenvalues of the matrix with shuffled entries beyond its Marchenko–Pastur "
        "edge, mean over shuffles",
    ),
    "total_traps": Variable("step", "eigenvalues", "sum of traps over the matrices"),
    "random_reach": Variable(
        "step, weight",
        "share",
        "largest eigenvalue of the shuffled matrix as a share of the edge, mean over shuffles; "
        "above 1 it is a trap",
    ),
}


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    shuffles: Annotated[int, "random permutations of each matrix's entries"] = 5,
    seed: Annotated[int, "of the permutations, the same at every step"] = 0,
) -> xr.Dataset:
    """Spectra of the effective weights, heads concatenated, at 60 checkpoints or at ``steps``.

    Returns:
        `VARIABLES`. NaN for matrices without eight non-zero eigenvalues.
    """
    check_at_least(1, shuffles=shuffles)
    wiring, names = run.wiring, _matrices(run)
    at, of_steps = select_finite_steps(run, steps, partial(log_spaced, count=60))
    rows = []
    for step in at:
        weights = run.checkpoint(step).effective_weights
        matrices = [wiring.matrix(name, weights[name]).double().numpy() for name in names]
        rows.append([_measure(matrix, shuffles, seed) for matrix in matrices])
    values = dict(zip(_Spectrum._fields, np.moveaxis(np.array(rows, float), -1, 0), strict=True))
    return described(
        VARIABLES,
        {
            **values,
            "mean_alpha": _over_matrices(values["alpha"], np.nanmean),
            "alpha_error": _over_matrices(np.abs(values["alpha"] - 2), np.nanmean),
            "total_spikes": _over_matrices(values["spikes"], np.nansum),
            "total_traps": _over_matrices(values["traps"], np.nansum),
        },
        coords={"step": at, "weight": names},
        attrs={"shuffles": shuffles, **of_steps, **run.milestones},
    )


def _matrices(run: Run) -> list[str]:
    """The matrices with at least eight rows and columns."""
    sizes = {name: min(map(len, run.wiring.ends(name))) for name in run.wiring.connections}
    return [name for name, size in sizes.items() if size >= FEWEST]


def _over_matrices(values: Float[np.ndarray, "step weight"], of: Any) -> Float[np.ndarray, " step"]:
    """The mean or sum over the matrices with a value; NaN at steps without any."""
    result = np.full(len(values), np.nan)
    known = np.isfinite(values).any(1)
    result[known] = of(values[known], axis=1)
    return result


class _Spectrum(NamedTuple):
    """The measurements of one matrix, as in `VARIABLES`."""

    alpha: float = np.nan
    distance: float = np.nan
    tail: float = np.nan
    spikes: float = np.nan
    traps: float = np.nan
    random_reach: float = np.nan


def _measure(matrix: Float[np.ndarray, "row column"], shuffles: int, seed: int) -> _Spectrum:
    evals = _eigenvalues(matrix)
    if (evals > SMALLEST).sum() < FEWEST:
        return _Spectrum()
    law = fit_power_law(evals)
    generator = np.random.default_rng(seed)
    entries = matrix.ravel()
    shuffled = [
        _eigenvalues(generator.permutation(entries).reshape(matrix.shape)) for _ in range(shuffles)
    ]
    small, large = sorted(matrix.shape)
    bulk = fit_bulk(np.concatenate(shuffled), large / small, small)
    edge = bulk.edge * evals.mean()  # a shuffle keeps the mean
    return _Spectrum(
        law.alpha,
        law.distance,
        law.n_tail / len(evals),
        float((evals > edge).sum()) if np.isfinite(edge) else np.nan,
        bulk.outliers * small,
        float(np.mean([one.max() for one in shuffled]) / edge),
    )


def _eigenvalues(matrix: Float[np.ndarray, "row column"]) -> Float[np.ndarray, " n"]:
    """The eigenvalues of the smaller of Wᵀ W and W Wᵀ."""
    gram = matrix.T @ matrix if matrix.shape[0] > matrix.shape[1] else matrix @ matrix.T
    return np.linalg.eigvalsh(gram).clip(min=0)


def finding(dataset: xr.Dataset) -> str:
    """The course of the mean α, spikes and traps."""
    if not np.isfinite(dataset.mean_alpha).any():
        return with_skipped_note("no matrix has eight non-zero eigenvalues", dataset)
    last = int(dataset.step[-1])
    traps = dataset.traps.max("weight")
    most = int(traps.fillna(-1).argmax("step"))
    where = str(dataset.weight[int(dataset.traps[most].fillna(-1).argmax("weight"))].item())
    found = (
        f"up to {float(traps[most]):.1f} correlation traps in {where} (step "
        f"{int(dataset.step[most]):,})"
        if float(traps.fillna(0)[most])
        else "no correlation trap"
    )
    text = (
        f"mean α {format_course(dataset.mean_alpha, '.2f')} by step {last:,}; spikes "
        f"{format_change(dataset.total_spikes, '.0f')}; {found}"
    )
    return with_skipped_note(text, dataset)


def draw(measured: Measured, *, log: LogAxis = True) -> go.Figure:
    """Means and totals over training; below, the exponent of each matrix."""
    figure = Panels(
        measured,
        title="Tails of the weights' spectra over training",
        subtitle="edge: of the Marchenko–Pastur bulk of the matrix with shuffled entries",
        log=log,
    )
    row = figure.row(height=230)
    panel = row.over_training("mean exponent α", y={"title": "α", "rangemode": "tozero"})
    panel.curves("mean_alpha", value="%{y:.2f}")
    panel.level(2, "α = 2")
    y = {"title": "eigenvalues", "rangemode": "tozero"}
    row.over_training("spikes beyond the edge", y=y).curves("total_spikes", value="%{y:.0f}")
    panel = row.over_training("largest of a shuffled matrix / edge", y="maximum over matrices")
    panel.curves(lambda dataset: dataset.random_reach.max("weight"), value="%{y:.2f}")
    panel.level(1, "above: correlation trap")
    draw_weights(figure, _exponents, title="α", rangemode="tozero")
    return figure.draw()


def _exponents(dataset: xr.Dataset) -> Iterator[tuple[xr.DataArray, dict[str, Any]]]:
    yield dataset.alpha, {"value": "α = %{y:.2f}"}
