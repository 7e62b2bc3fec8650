"""Runs of unusual shapes that several analyses are asked of."""

import pytest

from mechgrok.config import RunConfig
from mechgrok.runs import Run
from mechgrok.training import train


@pytest.fixture(scope="session")
def deep_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two hidden layers with biases on sparse parity, which has vectors and one output."""
    fields = {
        "task": {"name": "parity", "n": 8, "k": 2, "samples": 100},
        "model": {"kind": "mlp", "d_model": None, "d_mlp": 6, "n_layers": 2, "bias": True},
        "training": {"steps": 10, "checkpoint_every": 5},
    }
    return train(tmp_path_factory.mktemp("runs") / "deep", RunConfig.make(**fields))
