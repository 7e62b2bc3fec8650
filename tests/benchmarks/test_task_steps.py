"""A training step of parity, MNIST and Nanda et al.'s transformer against the usual way to take it.

Each ratio is of the medians of alternating rounds within one test, so that a busy machine slows
both sides alike.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from mechgrok.configuration import presets
from mechgrok.configuration.run_config import RunConfig
from mechgrok.models import make_model
from mechgrok.tasks import Examples
from mechgrok.training.gradients import backpropagate
from mechgrok.training.loop import make_batches
from mechgrok.training.optimizer import make_optimizer

pytestmark = pytest.mark.benchmark

Step = Callable[[], object]


def ratio(ours: Step, theirs: Step, *, steps: int, rounds: int = 9) -> float:
    """Median time of ``theirs`` over that of ``ours``."""
    times: dict[Step, list[float]] = {ours: [], theirs: []}
    for _ in range(rounds):
        for step, taken in times.items():
            step()
            start = time.perf_counter()
            for _ in range(steps):
                step()
            taken.append(time.perf_counter() - start)
    mine, other = (statistics.median(taken) for taken in times.values())
    print(f"{mine / steps * 1e3:.3f} ms against {other / steps * 1e3:.3f} ms")
    return other / mine


def config_of(preset: str, **task: Any) -> RunConfig:
    return RunConfig.make(**presets.merge(presets.load(preset), {"task": task}))


def our_step(config: RunConfig, data: Examples) -> Step:
    """One step as `mechgrok.training` takes it."""
    model = make_model(config.model, config.task)
    optimizer = make_optimizer(model, config)
    encoded = Examples(model.encode(data.inputs), data.labels)
    batches = make_batches(encoded, config.training, 0)

    def step() -> None:
        optimizer.zero_grad()
        backpropagate(model, config.task, next(batches), config.recipe)
        optimizer.step()

    return step


def bare_step(
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss_of: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    data: Examples,
    batch_size: int,
) -> Step:
    """One step of a loop written by hand, with a shuffle per epoch."""
    n = len(data.labels)

    def batches() -> Any:
        while True:
            order = torch.randperm(n)
            for start in range(0, n, batch_size):
                chosen = order[start : start + batch_size]
                yield data.inputs[chosen], data.labels[chosen]

    stream = batches()

    def step() -> None:
        inputs, labels = next(stream)
        loss = loss_of(net(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def test_a_parity_step_costs_at_most_one_and_a_half_bare_steps() -> None:
    config = config_of("parity")
    data = config.task.train
    net = nn.Sequential(nn.Linear(40, 1000), nn.ReLU(), nn.Linear(1000, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=0.01)

    def hinge(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.relu(1 - outputs[:, 0] * (2 * labels - 1)).mean()

    theirs = bare_step(net, optimizer, hinge, data, batch_size=32)
    assert ratio(our_step(config, data), theirs, steps=200) > 1 / 1.5


def test_an_mnist_step_costs_at_most_one_and_a_half_bare_steps() -> None:
    config = config_of("mnist")
    generator = torch.Generator().manual_seed(0)
    # The pixels' values do not matter to the cost of a step, so none need be downloaded.
    data = Examples(
        torch.rand(1000, 784, generator=generator), torch.randint(10, (1000,), generator=generator)
    )
    config.task.__dict__["examples"] = data
    net = nn.Sequential(
        nn.Linear(784, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(), nn.Linear(200, 10)
    )
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.01)

    def mse(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return nn.functional.mse_loss(outputs, nn.functional.one_hot(labels, 10).float())

    theirs = bare_step(net, optimizer, mse, data, batch_size=200)
    assert ratio(our_step(config, data), theirs, steps=50) > 1 / 1.5


def test_a_nanda_step_is_faster_than_on_transformer_lens_own_model() -> None:
    from mechgrok.models.native import to_transformer_lens

    config = config_of("nanda")
    data, training = config.task.train, config.training
    native = to_transformer_lens(make_model(config.model, config.task))  # type: ignore[arg-type]
    optimizer = torch.optim.AdamW(
        native.parameters(),
        lr=training.learning_rate,
        weight_decay=training.weight_decay,
        betas=training.optimizer.betas,
    )

    def theirs() -> None:
        loss = config.task.loss(native(data.inputs)[:, -1], data.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    assert ratio(our_step(config, data), theirs, steps=2, rounds=5) > 1.8
