"""Neurons are off in training, and only there (stopped, together and masked: test_transforms)."""

from pathlib import Path

import pytest
import torch

from mechgrok.configuration.run_config import RunConfig
from mechgrok.models import make_model
from mechgrok.training import evaluate, train
from mechgrok.training.dropout import Dropout

TASK = {"name": "add", "p": 7, "train_fraction": 0.7}
DEEP = {"kind": "mlp", "d_model": 12, "d_mlp": 8, "n_layers": 2}
TRANSFORMER = {"kind": "transformer", "d_model": 12, "n_heads": 2, "d_mlp": 10}


def test_a_share_of_neurons_is_off_and_the_mean_stays() -> None:
    config = RunConfig.make(task=TASK, model=DEEP, training={"dropout": 0.3})
    model = make_model(config.model, config.task)
    dropout = Dropout(model, config.recipe, config.task.train.inputs)
    first, second = dropout.factors(5, 4000, model.device)
    assert first.shape == second.shape == (4000, 8)
    assert not torch.equal(first, second)
    assert first.unique().tolist() == pytest.approx([0, 1 / 0.7])
    assert float((first == 0).double().mean()) == pytest.approx(0.3, abs=0.01)
    assert torch.equal(dropout.factors(5, 4000, model.device)[0], first)
    assert not torch.equal(dropout.factors(6, 4000, model.device)[0], first)


@pytest.mark.parametrize("model", [DEEP, TRANSFORMER], ids=["mlp", "transformer"])
def test_a_step_is_that_of_the_network_with_these_neurons_off(tmp_path: Path, model: dict) -> None:
    training = {"dropout": 0.4, "optimizer": "sgd", "weight_decay": 0.0, "steps": 1}
    config = RunConfig.make(task=TASK, model=model, training=training | {"learning_rate": 0.1})
    run = train(tmp_path / "run", config, device="cpu")
    network, task = run.model(0), run.task
    inputs, labels = task.train
    dropout = Dropout(network, config.recipe, inputs)
    factors = dropout.factors(0, len(labels), network.device)
    hooks = [
        (layer.hook, lambda post, hook, by=by: post * by)
        for layer, by in zip(network.wiring.hidden, factors, strict=True)
    ]
    task.loss(network.run_with_hooks(inputs, fwd_hooks=hooks), labels).backward()
    for name, weight in network.named_parameters():
        wanted = weight.detach() - 0.1 * weight.grad
        torch.testing.assert_close(run.checkpoint(1).weights[name], wanted)
    row = run.metrics.iloc[0]
    assert evaluate(run.model(0), task, *(task.train, task.test))["train_loss"] == row.train_loss
