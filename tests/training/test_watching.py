"""A function that sees the live network while it trains."""

from pathlib import Path
from typing import Any

import torch

from mechgrok import HookedMLP, train

SMALL: dict[str, Any] = {"p": 7, "d_model": 6, "d_mlp": 5, "steps": 30, "checkpoint_every": 10}


def test_it_sees_the_weights_that_the_metrics_are_of(tmp_path: Path) -> None:
    seen: dict[int, torch.Tensor] = {}

    def watch(model: HookedMLP, row: dict[str, float]) -> None:
        assert not torch.is_grad_enabled()
        seen[int(row["step"])] = model.W_in.clone()

    run = train(tmp_path / "run", "quick", watch=watch, **SMALL)
    assert list(seen) == run.metrics.step.tolist()
    for step in run.steps:
        assert seen[step].equal(run.weights("W_in", [step])[0])


def test_it_changes_nothing_of_the_training(tmp_path: Path) -> None:
    def watch(model: HookedMLP, row: dict[str, float]) -> None:
        model.run_with_cache(run_on)
        torch.rand(3)

    alone = train(tmp_path / "alone", "quick", **SMALL)
    run_on = alone.task.test.inputs
    watched = train(tmp_path / "watched", "quick", watch=watch, **SMALL)
    assert watched.weights("W_in").equal(alone.weights("W_in"))


def test_numbers_below_the_normal_floats_are_zero_while_training_alone(tmp_path: Path) -> None:
    """Processors compute tens of times slower with them; what is analyzed keeps them."""
    smallest: list[float] = []

    def product() -> float:
        return float(torch.tensor(1e-30) * 1e-10)

    train(tmp_path / "run", "quick", watch=lambda model, row: smallest.append(product()), **SMALL)
    assert set(smallest) == {0.0}
    assert product() > 0
