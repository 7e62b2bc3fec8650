"""What a mask and edge-popup add to a training step, and what scoring costs."""

from collections.abc import Callable
from functools import partial
from time import perf_counter

import pytest
import torch

from mechgrok.configuration.run_config import RunConfig
from mechgrok.masks import apply_mask
from mechgrok.masks.config import PopupConfig
from mechgrok.masks.popup import apply_popup
from mechgrok.masks.scores import grasp, magnitude, prune, random, snip, synflow
from mechgrok.models import MLPConfig, TransformerConfig, make_model
from mechgrok.training.evaluation import on_device
from mechgrok.training.gradients import backpropagate
from mechgrok.training.optimizer import make_optimizer
from tests.benchmarks.conftest import ratio, report

pytestmark = pytest.mark.benchmark

#: A transformer's step takes twenty times as long.
REPEATS = {"mlp": 40, "transformer": 5}


def training_steps(config: RunConfig, *, masked: bool = False) -> Callable[[], None]:
    """A function that takes ten training steps of a model, masked or under edge-popup."""
    task, model = config.task, make_model(config.model, config.task)
    if masked:
        apply_mask(model, prune(model, task, 0.6, "random"))
    if config.popup is not None:
        apply_popup(model, config.popup)
    optimizer = make_optimizer(model, config)
    batch = on_device(task.train, model)

    def steps() -> None:
        for _ in range(10):
            optimizer.zero_grad()
            backpropagate(model, task, batch, config.recipe)
            optimizer.step()

    return steps


@pytest.mark.parametrize("shape", [MLPConfig(), TransformerConfig()], ids=lambda m: m.kind)
def test_a_masked_step_costs_at_most_a_quarter_more(shape: MLPConfig | TransformerConfig) -> None:
    config = RunConfig(model=shape)
    slow, fast, times = ratio(
        training_steps(config, masked=True), training_steps(config), repeats=REPEATS[shape.kind]
    )
    report(f"{shape.kind}: masked step {slow * 100:.2f} ms, dense {fast * 100:.2f}: {times:.2f}×")
    assert times <= 1.25


@pytest.mark.parametrize("train_weights", [False, True])
@pytest.mark.parametrize("shape", [MLPConfig(), TransformerConfig()], ids=lambda m: m.kind)
def test_an_edge_popup_step_costs_at_most_twice_the_dense_one(
    shape: MLPConfig | TransformerConfig, train_weights: bool
) -> None:
    dense = RunConfig(model=shape)
    popup = RunConfig(model=shape, popup=PopupConfig(train_weights=train_weights))
    slow, fast, times = ratio(
        training_steps(popup), training_steps(dense), repeats=REPEATS[shape.kind]
    )
    what = "edge-popup with weights" if train_weights else "edge-popup"
    report(f"{shape.kind}: {what} step {slow * 100:.2f} ms, dense {fast * 100:.2f}: {times:.2f}×")
    assert times <= 2


@pytest.mark.parametrize("shape", [MLPConfig(), TransformerConfig()], ids=lambda m: m.kind)
def test_scoring_takes_under_two_seconds(shape: MLPConfig | TransformerConfig) -> None:
    task = RunConfig().task
    model = make_model(shape, task)
    torch.set_num_threads(1)
    for method in (
        partial(magnitude, model),
        partial(random, model),
        partial(snip, model, task),
        partial(grasp, model, task),
        partial(synflow, model, 0.6, rounds=1),
    ):
        method()
        began = perf_counter()
        method()
        took = perf_counter() - began
        report(f"{shape.kind}: {method.func.__name__} scores in {took:.3f} s")
        assert took < 2
