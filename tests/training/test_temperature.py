"""The temperature of the softmax: fixed, or set at every step to hold the scale of the logits."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mechgrok import Run, RunConfig, UserError, fork, sweep, train, train_ticket
from mechgrok.metrics import scale_of
from mechgrok.models import make_model
from mechgrok.optimization.constraints.logits import Logits
from mechgrok.training import Interrupted, resume, train_together
from mechgrok.training.evaluation import on_device
from mechgrok.training.gradients import backpropagate
from mechgrok.training.loss import StepLoss

SHORT: dict[str, Any] = {"p": 7, "d_model": 8, "d_mlp": 8, "steps": 40, "checkpoint_every": 10}
METRICS = "temperature,logit_scale,gradient_norm"
SOFTMAXES = ["cross-entropy", "cross-entropy-float64", "cross-entropy-float32", "stablemax"]


def short(out: Path, **settings: Any) -> Run:
    return train(out, "quick", progress=None, **SHORT | settings)


def loss_of(run: Run, step: int, temperature: float, side: str = "train") -> float:
    inputs, labels = getattr(run.task, side)
    with torch.no_grad():
        return float(run.task.loss(run.model(step)(inputs) / temperature, labels))


def interrupted(out: Path, at: int, **settings: Any) -> Run:
    def stop(row: dict[str, float]) -> None:
        if row["step"] == at:
            raise Interrupted(at, out)

    with pytest.raises(KeyboardInterrupt):
        train(out, "quick", progress=stop, **SHORT | settings)
    return resume(out, progress=None)


def assert_same_bytes(run: Run, other: Run) -> None:
    assert run.steps == other.steps
    for step in run.steps:
        assert run.file(step).read_bytes() == other.file(step).read_bytes()
    assert run.metrics.equals(other.metrics)


@pytest.mark.parametrize("objective", SOFTMAXES)
@pytest.mark.parametrize("model", ["mlp", "transformer"])
def test_the_gradient_is_that_of_the_loss_of_divided_logits(objective: str, model: str) -> None:
    config = RunConfig.preset("quick", objective=objective, p=7, d_model=8, d_mlp=8, model=model)
    network, task = make_model(config.model, config.task), config.task
    batch = on_device(task.train, network)
    loss = task.loss(network(batch.inputs) / 2.5, batch.labels)
    wanted = torch.autograd.grad(loss, list(network.parameters()))
    found = backpropagate(network, task, batch, config.recipe, StepLoss(2.5))
    assert found == loss.detach()
    for parameter, gradient in zip(network.parameters(), wanted, strict=True):
        assert parameter.grad is not None
        assert torch.equal(parameter.grad, gradient)


@pytest.mark.parametrize("objective", SOFTMAXES)
def test_the_loss_in_the_metrics_is_the_minimized_one(tmp_path: Path, objective: str) -> None:
    run = short(tmp_path / "run", objective=objective, temperature=3, metrics=METRICS)
    for side in ("train", "test"):
        loss = run.metrics.set_index("step")[f"{side}_loss"]
        assert loss[40] == pytest.approx(loss_of(run, 40, 3, side), rel=1e-6)
        assert loss[40] != pytest.approx(loss_of(run, 40, 1, side), rel=1e-2)
    assert set(run.metrics.temperature) == {3}
    assert run.metrics.train_loss.iloc[-1] < run.metrics.train_loss.iloc[0]


def test_without_a_temperature_nothing_is_different(tmp_path: Path) -> None:
    default, explicit = short(tmp_path / "default"), short(tmp_path / "explicit", temperature=1)
    assert_same_bytes(default, explicit)
    configs = [json.loads((run.path / "config.json").read_text()) for run in (default, explicit)]
    assert configs[0] == configs[1]
    assert "temperature" not in configs[0]["training"]


@pytest.mark.parametrize(
    "training",
    [{"temperature": 2}, {"constraints": "logits:scale=10"}],
    ids=["temperature", "logits"],
)
@pytest.mark.parametrize("objective", ["mse", "hinge"])
def test_a_loss_without_a_softmax_has_no_temperature(
    tmp_path: Path, training: dict[str, Any], objective: str
) -> None:
    with pytest.raises(UserError, match="objective cross-entropy"):
        train(tmp_path / "run", task="parity", objective=objective, **training)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("model", ["mlp", "transformer"])
def test_members_have_their_own_temperatures(tmp_path: Path, model: str) -> None:
    choices: dict[str, dict[str, Any]] = {
        "usual": {},
        "hot": {"temperature": 4},
        "held": {"constraints": "logits:scale=2"},
        "late": {"constraints": "logits:scale=2:since=15:until=25"},
    }
    common = SHORT | {"model": model, "metrics": METRICS}
    configs = {
        tmp_path / name: RunConfig.preset("quick", **common, **choice)
        for name, choice in choices.items()
    }
    assert all(isinstance(run, Run) for run in train_together(configs).values())
    for name, choice in choices.items():
        together, alone = (
            Run(tmp_path / name),
            short(tmp_path / f"{name}-alone", **common, **choice),
        )
        torch.testing.assert_close(
            torch.tensor(together.metrics.to_numpy()),
            torch.tensor(alone.metrics.to_numpy()),
            rtol=1e-3,
            atol=1e-6,
        )


def test_the_scale_that_the_softmax_sees_is_held(tmp_path: Path) -> None:
    run = short(tmp_path / "run", constraints="logits:scale=10", metrics=METRICS)
    table = run.metrics.set_index("step")
    assert list(table.logit_scale / table.temperature) == pytest.approx([10] * len(table))
    for step in (0, 20, 40):
        inputs, labels = run.task.train
        logits = run.model(step)(inputs).detach()
        loss = run.task.loss(logits * (10 / scale_of(logits)), labels)
        assert table.train_loss[step] == pytest.approx(float(loss), rel=1e-5)


def test_the_temperature_is_constant_within_a_step(tmp_path: Path) -> None:
    """The first step is that of the temperature measured before it, held by hand."""
    held = short(tmp_path / "held", constraints="logits:scale=5", metrics=METRICS, steps=1)
    temperature = held.metrics.temperature[0]
    by_hand = short(tmp_path / "hand", temperature=float(temperature), steps=1)
    for name in held.weight_names:
        torch.testing.assert_close(held.weights(name, [1]), by_hand.weights(name, [1]))


def test_the_scale_is_held_at_some_steps_only(tmp_path: Path) -> None:
    constraints = "logits:scale=10:since=10:until=30"
    run = short(tmp_path / "run", constraints=constraints, metrics=METRICS, temperature=2)
    table = run.metrics.set_index("step")
    held = (table.logit_scale / table.temperature - 10).abs() < 1e-6
    assert [held[step] for step in (0, 10, 20, 30, 40)] == [False, True, True, False, False]
    assert list(table.temperature[[0, 30, 40]]) == [2, 2, 2]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"batch_size": 8},
        {"dropout": 0.2},
        {"transforms": "sam:rho=0.05"},
        {"model": "transformer"},
    ],
    ids=["full batch", "mini-batches", "dropout", "sam", "transformer"],
)
def test_a_run_with_a_held_scale_resumes_to_the_same_bytes(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    settings = settings | {"constraints": "logits:scale=10", "metrics": METRICS}
    whole = short(tmp_path / "whole", **settings)
    assert_same_bytes(interrupted(tmp_path / "part", 20, **settings), whole)


def test_only_one_scale_can_be_held_and_only_of_logits_that_differ(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="since"):
        Logits(scale=10).temperature(torch.ones(3, 2), 0)
    with pytest.raises(UserError, match="since and until"):
        short(tmp_path / "both", constraints="logits:scale=10,logits:scale=20:since=5")


def test_temperature_is_a_setting_like_others(tmp_path: Path) -> None:
    many = sweep(tmp_path / "many", "quick", over={"temperature": "1,2"}, jobs=1, **SHORT)
    runs = list(many.runs.values())
    assert [run.config.recipe.temperature for run in runs] == [1, 2]
    derive: list[Callable[..., Run]] = [fork, train_ticket]
    for index, make in enumerate(derive):
        child = make(runs[1], tmp_path / f"child-{index}", progress=None)
        assert child.config.recipe.temperature == 2
