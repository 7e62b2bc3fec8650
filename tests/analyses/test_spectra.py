"""Tails of spectra: power laws, spikes beyond the bulk of a random matrix, correlation traps."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mechgrok.analyses import spectra
from mechgrok.analyses.measures.spectra import fit_bulk, fit_power_law
from mechgrok.runs import Run
from tests.analyses.handmade import handmade_steps

P, WIDTH = 40, 160


def gaussian(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(P, WIDTH))


@pytest.mark.parametrize("alpha", [1.5, 2.0, 4.0])
def test_the_quantiles_of_a_power_law_have_its_exponent(alpha: float) -> None:
    quantile = (np.arange(1000) + 0.5) / 1000
    law = fit_power_law(3 * (1 - quantile) ** (1 / (1 - alpha)))
    assert law.alpha == pytest.approx(alpha, rel=0.03)
    assert law.distance < 0.01


def test_the_tail_starts_where_the_law_starts() -> None:
    quantile = (np.arange(500) + 0.5) / 500
    tail = 10 * (1 - quantile) ** (-1 / 1.5)
    body = np.linspace(9, 10, 500, endpoint=False)
    law = fit_power_law(np.concatenate([body, tail]))
    assert law.start == pytest.approx(10, rel=0.02)
    assert law.alpha == pytest.approx(2.5, rel=0.05)


def test_the_exponent_by_its_formula_at_every_start() -> None:
    values = np.random.default_rng(0).pareto(1.2, 60) + 1
    best = (np.inf, np.nan)
    for start in np.sort(values)[:-1]:
        tail = np.sort(values[values >= start])
        alpha = 1 + len(tail) / np.log(tail / start).sum()
        gaps = 1 - (tail / start) ** (1 - alpha) - np.arange(len(tail)) / len(tail)
        best = min(best, (np.abs(gaps).max(), alpha))
    law = fit_power_law(values)
    assert (law.distance, law.alpha) == pytest.approx(best)


def test_the_bulk_of_a_random_matrix_ends_at_the_edge_of_marchenko_and_pastur() -> None:
    evals = np.linalg.svd(gaussian(), compute_uv=False) ** 2
    bulk = fit_bulk(evals, 4.0, P)
    assert bulk.sigma == pytest.approx(1, abs=0.03)
    assert bulk.outliers == 0
    assert 1.5**2 < bulk.edge < 1.5**2 + 0.4


def test_an_outlier_inflates_the_variance_and_not_the_fitted_bulk() -> None:
    evals = np.linalg.svd(gaussian(), compute_uv=False) ** 2
    with_outlier = np.append(evals[1:], 10 * evals.max())
    bulk = fit_bulk(with_outlier, 4.0, P)
    assert bulk.outliers == pytest.approx(1 / P)
    assert bulk.sigma * with_outlier.mean() ** 0.5 == pytest.approx(evals.mean() ** 0.5, rel=0.05)


def test_square_matrices_have_a_quarter_circle() -> None:
    evals = np.linalg.svd(np.random.default_rng(0).normal(size=(80, 80)), compute_uv=False) ** 2
    bulk = fit_bulk(evals, 1.0, 80)
    assert bulk.sigma == pytest.approx(1, abs=0.05)
    assert bulk.outliers == 0


def of_layer(path: Path, matrix: np.ndarray) -> dict[str, float]:
    """The measurements of W_in, with W_out random."""
    W_out = torch.from_numpy(gaussian(1).T)
    run = handmade_steps(path, [(torch.from_numpy(matrix), W_out)], name="add", p=P)
    measured = spectra.measure(run).isel(step=0).sel(weight="W_in")
    return {name: float(measured[name]) for name in ("spikes", "traps", "random_reach")}


def test_a_correlation_is_a_spike_and_a_large_entry_is_a_trap(tmp_path: Path) -> None:
    random = of_layer(tmp_path / "random", gaussian())
    assert (random["spikes"], random["traps"]) == (0, 0)
    assert random["random_reach"] < 1
    generator = np.random.default_rng(2)
    u, v = generator.normal(size=(2, P, 1)), generator.normal(size=(2, 1, WIDTH))
    correlated = of_layer(tmp_path / "correlated", gaussian() + 0.7 * (u * v).sum(0))
    assert (correlated["spikes"], correlated["traps"]) == (2, 0)
    outlier = gaussian()
    outlier[3, 5] = 60
    trapped = of_layer(tmp_path / "trapped", outlier)
    assert (trapped["spikes"], trapped["traps"]) == (1, 1)
    assert trapped["random_reach"] > 2


def test_means_and_totals_run_over_matrices_that_have_a_spectrum(tmp_path: Path) -> None:
    zero = torch.zeros(P, WIDTH)
    random = torch.from_numpy(gaussian())
    run = handmade_steps(tmp_path / "r", [(zero, random.T), (zero, zero.T)], name="add", p=P)
    measured = spectra.measure(run)
    assert float(measured.mean_alpha[0]) == float(measured.alpha.sel(weight="W_out")[0])
    assert np.isnan(measured.mean_alpha[1])
    assert spectra.draw({"run": measured}).data
    nothing = spectra.measure(run, steps=[10])
    assert "no matrix has eight non-zero" in spectra.finding(nothing)


def test_tiny_matrices_have_no_spectrum_to_fit(deep_run: Run) -> None:
    assert "8 rows and columns" in str(spectra.applies(deep_run))


def test_heads_are_one_matrix(tiny_transformer_run: Run) -> None:
    measured = spectra.measure(tiny_transformer_run)
    assert any("W_Q" in str(name) for name in measured.weight.values)
    assert spectra.finding(measured)


def test_exponents_and_traps_are_those_of_weightwatcher() -> None:
    powerlaw = pytest.importorskip("weightwatcher.WW_powerlaw", exc_type=ImportError)
    weightwatcher = pytest.importorskip("weightwatcher", exc_type=ImportError)
    watcher = weightwatcher.WeightWatcher(model=torch.nn.Linear(20, 20))
    run = Run(Path(__file__).parents[2] / "data" / "base")
    for step in (0, 30000):
        for name in run.weight_names:
            matrix = run.weights(name, [step])[0].double().numpy()
            small, large = sorted(matrix.shape)
            evals = np.linalg.svd(matrix, compute_uv=False) ** 2
            theirs = powerlaw.WWFit(evals[evals > 1e-5])
            assert fit_power_law(evals).alpha == pytest.approx(theirs.alpha, rel=1e-6)
            entries = np.random.default_rng(0).permutation(matrix.ravel())
            random = np.linalg.svd(entries.reshape(matrix.shape), compute_uv=False) ** 2
            options = ["W", 0, 0, False, False, ".", "k", 0.5, True, random, True]
            traps, sigma, *_ = watcher.mp_fit(random, large, small, 1, *options)
            ours = fit_bulk(random, large / small, small)
            assert ours.outliers * small == pytest.approx(traps)
            assert ours.sigma == pytest.approx(sigma, abs=0.01)
