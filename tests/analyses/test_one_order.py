"""Frequencies of a product are those over discrete logarithms, in every analysis of a report."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mechgrok.analyses import dead_neurons, fourier, periodicity, weights
from mechgrok.analyses.measures.fourier import cyclic_order
from mechgrok.runs import Run
from tests.analyses.handmade import run_of, waves

P, FREQUENCIES = 11, [3, 1, 4, 2]


@pytest.fixture(params=["mul", "div"])
def by_logarithm(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Neurons that are waves over g⁰, g¹, …, each of another frequency."""
    W_E, W_in = torch.zeros(P, P), torch.zeros(P, len(FREQUENCIES))
    W_E[range(P), range(P)] = 1
    W_in[cyclic_order(P, "multiplicative")] = waves(P - 1, FREQUENCIES, [0.3] * 4).float()
    made = {"W_E": W_E, "W_in": W_in, "W_out": W_in.T.clone(), "W_U": W_E.clone()}
    model = {"kind": "mlp", "d_model": P, "d_mlp": len(FREQUENCIES)}
    return run_of(tmp_path / "run", made, model, {"name": request.param, "p": P})


def test_the_strongest_frequency_is_the_same_in_all(by_logarithm: Run) -> None:
    for analysis in (fourier, periodicity):
        at = analysis.measure(by_logarithm).isel(step=0)
        assert at.frequency_of.to_numpy().tolist() == FREQUENCIES
    knocked = dead_neurons.measure(by_logarithm)
    assert knocked.frequency_of[0].to_numpy().tolist() == FREQUENCIES
    assert knocked.sizes["frequency"] == (P - 1) // 2 + 1
    shown = weights.measure(by_logarithm)["W_in column"].to_numpy()
    np.testing.assert_array_equal(shown, np.argsort(FREQUENCIES))
