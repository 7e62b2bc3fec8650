"""Polynomial regression: a quadratic of one projection, judged by its loss."""

from pathlib import Path

import torch

from mechgrok.configuration.run_config import RunConfig
from mechgrok.runs import Run
from mechgrok.tasks.polynomial import PolynomialRegression
from mechgrok.training import train


def test_the_label_is_half_the_square_of_a_projection_on_a_unit_vector() -> None:
    task = PolynomialRegression(dimension=7, samples=60)
    inputs, labels = task.examples
    torch.testing.assert_close(task.direction.norm(), torch.tensor(1.0))
    torch.testing.assert_close(labels, (inputs @ task.direction) ** 2 / 2)
    along = torch.zeros(7).copy_(task.direction)
    shifted = inputs - (inputs @ along)[:, None] * along
    torch.testing.assert_close(shifted @ task.direction, torch.zeros(60), atol=1e-5, rtol=0)


def test_when_it_was_learned_is_read_from_the_loss(tmp_path: Path) -> None:
    config = RunConfig.make(
        task={"name": "polynomial", "dimension": 2, "samples": 300, "train_fraction": 0.7},
        model={"kind": "mlp", "d_model": None, "d_mlp": 64, "bias": True, "init": "linear"},
        training={"steps": 600, "learning_rate": 0.01, "weight_decay": 0.0},
    )
    train(tmp_path / "run", config)
    run = Run(tmp_path / "run")
    assert run.t_mem is not None
    assert run.t_gen is not None
    metrics = run.metrics.set_index("step")
    assert metrics.train_loss[run.t_mem] <= 0.01 < metrics.train_loss.loc[: run.t_mem - 1].min()
    assert metrics.test_loss[run.t_gen] <= 0.1 < metrics.test_loss.loc[: run.t_gen - 1].min()
