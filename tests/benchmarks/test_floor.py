"""A default step against its floor: the same arithmetic written out by hand, without autograd."""

import math
from collections.abc import Callable
from time import perf_counter

import pytest
import torch
from torch import Tensor

from mechgrok.configuration.run_config import RunConfig
from mechgrok.global_state import threads
from mechgrok.models import HookedMLP, make_model
from mechgrok.models.counts import TokenCounts
from mechgrok.tasks import Examples
from mechgrok.training.evaluation import on_device
from mechgrok.training.gradients import backpropagate
from mechgrok.training.optimizer import make_optimizer
from tests.benchmarks.conftest import report

pytestmark = pytest.mark.benchmark


def hand_written_step(weights: list[Tensor], data: Examples) -> Callable[[], None]:
    """Forward, backward and AdamW of the default network, with gathered rows and one buffer."""
    W_E, W_in, W_out, W_U = weights
    counts = TokenCounts(data.inputs, len(W_E))
    right, n = data.labels[:, None], len(data.labels)
    moments = [[torch.zeros_like(weight) for weight in weights] for _ in range(2)]
    steps = [torch.zeros(()) for _ in weights]

    @torch.no_grad()
    def step() -> None:
        into, out = W_E @ W_in, W_out @ W_U
        post = (counts @ into).relu_()
        odds = post @ out
        of_right = odds.gather(1, right)
        odds.scatter_(1, right, -math.inf)
        highest = odds.amax(1, keepdim=True)
        odds.sub_(highest).mul_(math.log2(math.e)).exp2_()
        total = odds.sum(1, keepdim=True)
        ahead = highest - of_right + total.log()
        torch.nn.functional.softplus(ahead).mean()  # the loss, without which nobody trains
        push = ahead.sigmoid_().div_(n)
        d_outputs = odds.mul_(push / total).scatter_(1, right, -push)
        d_out = post.T @ d_outputs
        rows, starts = counts.by_token
        d_pre = torch.ops.aten.threshold_backward(d_outputs @ out.T, post, 0)
        d_into = torch.nn.functional.embedding_bag(rows, d_pre, starts, mode="sum")
        gradients = [d_into @ W_in.T, W_E.T @ d_into, d_out @ W_U.T, W_out.T @ d_out]
        torch._foreach_add_(steps, 1)
        torch._fused_adamw_(
            weights,
            gradients,
            moments[0],
            moments[1],
            [],
            steps,
            lr=1e-3,
            beta1=0.9,
            beta2=0.98,
            weight_decay=1.0,
            eps=1e-8,
            amsgrad=False,
            maximize=False,
        )

    return step


def fastest(*steps: Callable[[], None], rounds: int = 400, count: int = 4) -> list[float]:
    """Seconds per call of each in its fastest rounds (a 50th of them), taken in turn.

    Not the median: a neighbour that uses the memory slows most what uses the memory most.
    """
    taken: list[list[float]] = [[] for _ in steps]
    for _ in range(rounds):
        for step, times in zip(steps, taken, strict=True):
            step()
            began = perf_counter()
            for _ in range(count):
                step()
            times.append((perf_counter() - began) / count)
    return [sorted(times)[rounds // 50] for times in taken]


def test_a_default_step_takes_about_1_3_times_its_floor() -> None:
    config = RunConfig()
    task, model = config.task, make_model(config.model, config.task)
    assert isinstance(model, HookedMLP)
    names = ("W_E", "W_in", "W_out", "W_U")
    weights = [getattr(model, name).detach().clone() for name in names]
    by_hand = hand_written_step(weights, task.train)
    optimizer = make_optimizer(model, config)
    batch = on_device(task.train, model)

    def step() -> None:
        optimizer.zero_grad()
        backpropagate(model, task, batch, config.recipe)
        optimizer.step()

    with threads(1):
        step(), by_hand()
        for name, weight in zip(names, weights, strict=True):
            torch.testing.assert_close(getattr(model, name), weight, atol=2e-4, rtol=1e-3)
        ours, floor = fastest(step, by_hand)
    report(
        f"default step: {1e3 * ours:.2f} ms; by hand {1e3 * floor:.2f} ms; "
        f"{ours / floor:.2f} times the floor"
    )
    assert ours / floor <= 1.3  # asked for and not met: 1.5 on a machine with ten times its load
