"""Small real runs that tests ask questions of; each is trained once per session."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mechgrok.configuration.run_config import RunConfig
from mechgrok.masks import Mask
from mechgrok.models import raw_weights
from mechgrok.runs import Run
from mechgrok.runs.checkpoint import Checkpoint
from mechgrok.tensors import read_tensors
from mechgrok.training import train

torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def own_cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test writes to the user's cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MECHGROK_DATA", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def needs_browser() -> str:
    """The path of a browser; a test that needs one is skipped where there is none."""
    from mechgrok.analyses.drawing.browser import find_browser

    path = find_browser()
    if path is None:
        pytest.skip("no Chrome or Chromium is installed: apt-get install chromium")
    return path


TINY_MLP = {
    "task": {"name": "add", "p": 7, "train_fraction": 0.7},
    "model": {"kind": "mlp", "d_model": 12, "d_mlp": 8},
    "training": {"steps": 60, "checkpoint_every": 20},
}
TINY_TRANSFORMER = {
    "task": {"name": "add", "p": 7, "pairs": "ordered"},
    "model": {"kind": "transformer", "d_model": 12, "n_heads": 2, "d_mlp": 10},
    "training": {"steps": 40, "checkpoint_every": 20},
}


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An MLP on a + b mod 7, 60 steps."""
    return train(tmp_path_factory.mktemp("runs") / "tiny", RunConfig.make(**TINY_MLP))


@pytest.fixture
def undigested_run(tiny_run: Run, tmp_path: Path) -> Run:
    """A run whose checkpoints have no digest, as version 0.1 wrote them."""
    run = Run(shutil.copytree(tiny_run.path, tmp_path / "undigested"))
    for step in run.steps:
        tensors, metadata = read_tensors(run.file(step))
        save_file(tensors, run.file(step), metadata=metadata)
    return run


@pytest.fixture(scope="session")
def tiny_transformer_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A two-head transformer on a + b mod 7, 40 steps."""
    path = tmp_path_factory.mktemp("runs") / "tiny-transformer"
    return train(path, RunConfig.make(**TINY_TRANSFORMER))


@pytest.fixture(scope="session")
def group_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An MLP that composes permutations of three things, 60 steps."""
    fields = {
        "task": {"name": "group", "group": "S3", "train_fraction": 0.7},
        "model": {"kind": "positional-mlp", "d_model": 8, "d_mlp": 10},
        "training": {"steps": 60, "checkpoint_every": 20},
    }
    return train(tmp_path_factory.mktemp("runs") / "group", RunConfig.make(**fields))


@pytest.fixture(scope="session")
def masked_run(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run like ``tiny_run`` under a random mask of half of each matrix, trained from θ₀ ⊙ m."""
    generator = torch.Generator().manual_seed(0)
    theta = {name: w.detach() for name, w in raw_weights(tiny_run.model(0)).items()}
    mask = Mask({name: torch.rand(w.shape, generator=generator) < 0.5 for name, w in theta.items()})
    start = Checkpoint(0, {name: w * mask[name] for name, w in theta.items()}, mask)
    path: Path = tmp_path_factory.mktemp("runs") / "masked"
    return train(path, RunConfig.make(**TINY_MLP), start=start)


@pytest.fixture(scope="session")
def deep_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two hidden layers with biases on sparse parity, which has vectors and one output."""
    fields = {
        "task": {"name": "parity", "n": 8, "k": 2, "samples": 100},
        "model": {"kind": "mlp", "d_model": None, "d_mlp": 6, "n_layers": 2, "bias": True},
        "training": {"steps": 10, "checkpoint_every": 5},
    }
    return train(tmp_path_factory.mktemp("runs") / "deep", RunConfig.make(**fields))
