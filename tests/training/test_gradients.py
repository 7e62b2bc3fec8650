"""What is pulled back by hand is what autograd finds, bit for bit, masks and penalties included."""

from typing import Any

import pytest
import torch

from mechgrok.configuration.run_config import RunConfig
from mechgrok.masks import apply_mask, prune
from mechgrok.masks.config import PopupConfig
from mechgrok.masks.popup import apply_popup
from mechgrok.models import HookedModel, make_model
from mechgrok.training.evaluation import on_device
from mechgrok.training.gradients import backpropagate, penalty, penalty_factors

MODELS: dict[str, dict[str, Any]] = {
    "the paper's MLP": {"kind": "mlp", "d_model": 12, "d_mlp": 9},
    "without embeddings": {"kind": "mlp", "d_model": None, "d_mlp": 9},
    "two layers": {"kind": "mlp", "d_model": 12, "d_mlp": 9, "n_layers": 2},
    "biases": {"kind": "mlp", "d_model": 12, "d_mlp": 9, "bias": True},
    "another activation": {"kind": "mlp", "d_model": 12, "d_mlp": 9, "act": "gelu"},
    "a transformer": {"kind": "transformer", "d_model": 8, "d_mlp": 9},
    "positions": {"kind": "positional-mlp", "d_model": 8, "d_mlp": 9},
}


def config_of(model: dict[str, Any], **training: Any) -> RunConfig:
    return RunConfig.make(task={"name": "add", "p": 7}, model=model, training=training)


def gradients(model: HookedModel) -> dict[str, torch.Tensor | None]:
    return {
        name: None if each.grad is None else each.grad.clone()
        for name, each in model.named_parameters()
    }


def check_against_autograd(model: HookedModel, config: RunConfig) -> None:
    task, training = config.task, config.recipe
    batch = on_device(task.train, model)
    model.zero_grad()
    loss = task.loss(model(batch.inputs), batch.labels)
    if training.l1 or training.l2:
        loss = loss + penalty(model, penalty_factors(training))
    loss.backward()
    wanted = gradients(model)
    model.zero_grad()
    found = backpropagate(model, task, batch, training)
    assert found == loss.detach()
    assert not found.requires_grad
    for name, gradient in gradients(model).items():
        if wanted[name] is None:
            assert gradient is None, name
        else:
            assert gradient is not None, name
            assert torch.equal(gradient, wanted[name]), name  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", MODELS.values(), ids=MODELS)
def test_gradients_are_those_of_autograd_to_the_bit(shape: dict[str, Any]) -> None:
    config = config_of(shape)
    check_against_autograd(make_model(config.model, config.task), config)


@pytest.mark.parametrize("shape", list(MODELS.values())[:2], ids=list(MODELS)[:2])
def test_under_a_mask_and_with_edge_popup_too(shape: dict[str, Any]) -> None:
    config = config_of(shape)
    model = make_model(config.model, config.task)
    apply_mask(model, prune(model, config.task, 0.5))
    check_against_autograd(model, config)
    for train_weights in (False, True):
        model = make_model(config.model, config.task)
        apply_popup(model, PopupConfig(rate=0.5, train_weights=train_weights))
        check_against_autograd(model, config)


def test_penalties_are_added() -> None:
    config = config_of(MODELS["the paper's MLP"], l1=1e-3, l2=1e-2)
    check_against_autograd_within_rounding(config)


def check_against_autograd_within_rounding(config: RunConfig) -> None:
    """With penalties a gradient is a sum, whose terms autograd may add in another order."""
    model = make_model(config.model, config.task)
    batch = on_device(config.task.train, model)
    loss = config.task.loss(model(batch.inputs), batch.labels) + penalty(
        model, penalty_factors(config.recipe)
    )
    loss.backward()
    wanted = gradients(model)
    model.zero_grad()
    assert backpropagate(model, config.task, batch, config.recipe) == pytest.approx(loss.item())
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(gradient, wanted[name])


def test_a_hook_that_listens_is_called_on_the_way() -> None:
    config = config_of(MODELS["the paper's MLP"])
    model = make_model(config.model, config.task)
    batch = on_device(config.task.train, model)
    heard = []
    model.add_hook("blocks.0.mlp.hook_post", lambda post, hook: heard.append(post.shape))
    backpropagate(model, config.task, batch, config.recipe)
    assert heard == [(len(batch.labels), 9)]


def test_without_a_gradient_of_its_own_an_objective_is_left_to_autograd() -> None:
    config = RunConfig.make(
        task={"name": "parity", "n": 6, "k": 2, "samples": 40},
        model={"kind": "mlp", "d_model": None, "d_mlp": 9},
    )
    check_against_autograd(make_model(config.model, config.task), config)
