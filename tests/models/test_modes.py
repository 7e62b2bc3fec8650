"""The folded and the full pass compute one function, and hooks see the same activations."""

from typing import Any

import pytest
import torch

from mechgrok.models import (
    HookedModel,
    MLPConfig,
    ModelShape,
    PositionalMLPConfig,
    TransformerConfig,
    make_model,
)
from mechgrok.tasks import Task, make_task

TOKENS = make_task("add", p=11)
WITH_EQUALS = make_task("add", p=11, equals=True, pairs="ordered")
CASES = {
    "mlp": (MLPConfig(d_model=20, d_mlp=9), TOKENS),
    "mlp without embedding": (MLPConfig(d_model=None, d_mlp=9), TOKENS),
    "deep mlp with biases": (MLPConfig(d_model=20, d_mlp=9, n_layers=3, bias=True), TOKENS),
    "gelu": (MLPConfig(d_model=20, d_mlp=9, act="gelu"), TOKENS),
    "1 layer, 1 head": (TransformerConfig(d_model=16, d_mlp=9), TOKENS),
    "1 layer, 4 heads": (TransformerConfig(d_model=16, d_mlp=9, n_heads=4), WITH_EQUALS),
    "half of the attention": (
        TransformerConfig(d_model=16, d_mlp=9, n_heads=2, attention_rate=0.5),
        WITH_EQUALS,
    ),
    "2 layers without attention": (
        TransformerConfig(d_model=16, d_mlp=9, n_layers=2, attention_rate=0),
        WITH_EQUALS,
    ),
    "no positions, no biases": (
        TransformerConfig(d_model=16, d_mlp=9, positions=False, bias=False),
        TOKENS,
    ),
    "2 layers, no positions": (
        TransformerConfig(d_model=16, d_mlp=9, n_layers=2, positions=False, norm="layer"),
        WITH_EQUALS,
    ),
    "2 layers, 1 head": (TransformerConfig(d_model=16, d_mlp=9, n_layers=2), WITH_EQUALS),
    "2 layers, 4 heads": (TransformerConfig(d_model=16, d_mlp=9, n_layers=2, n_heads=4), TOKENS),
}
NORMS: dict[str, dict[str, Any]] = {
    "layer norm": {"norm": "layer"},
    "rms norm at the end": {"norm": "rms", "norm_at": "end"},
    "layer norm after": {"norm": "layer", "norm_at": "after"},
    "rms norm before without scale": {"norm": "rms", "norm_at": "before", "norm_learned": False},
}
SHAPES: list[tuple[type[ModelShape], dict[str, Any], Task]] = [
    (MLPConfig, {"d_model": 20}, TOKENS),
    (MLPConfig, {"d_model": 20, "n_layers": 2, "bias": True}, TOKENS),
    (PositionalMLPConfig, {"d_model": 20}, WITH_EQUALS),
    (PositionalMLPConfig, {"d_model": 20, "join": "concat"}, WITH_EQUALS),
    (TransformerConfig, {"d_model": 16, "n_heads": 2}, WITH_EQUALS),
    (TransformerConfig, {"d_model": 16, "n_layers": 2}, TOKENS),
]
CASES |= {
    f"{shape.__name__} {number}, {name}": (shape(d_mlp=9, **fields, **norm), task)
    for number, (shape, fields, task) in enumerate(SHAPES)
    for name, norm in NORMS.items()
}
CASES["mlp without embedding, layer norm before"] = (
    MLPConfig(d_model=None, d_mlp=9, norm="layer", norm_at="before"),
    TOKENS,
)


@pytest.fixture(params=CASES, ids=lambda name: name.replace(" ", "-").replace(",", ""))
def case(request: pytest.FixtureRequest) -> tuple[HookedModel, Task]:
    config, task = CASES[request.param]
    model = make_model(config, task, seed=1)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:  # a bias, or a learned scale: let it matter
                parameter.add_(torch.randn(parameter.shape, generator=generator))
    return model, task


def _gradients(model: HookedModel, task: Task, mode: str) -> dict[str, torch.Tensor]:
    model.zero_grad()
    task.loss(model(task.train.inputs, mode=mode), task.train.labels).backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters()}


def test_values_agree(case: tuple[HookedModel, Task]) -> None:
    model, task = case
    inputs = task.examples.inputs
    full = model(inputs, mode="full")
    torch.testing.assert_close(model(inputs, mode="folded"), full, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model(model.encode(inputs)), full, atol=1e-5, rtol=1e-5)


def test_gradients_agree(case: tuple[HookedModel, Task]) -> None:
    model, task = case
    folded, full = (_gradients(model, task, mode) for mode in ("folded", "full"))
    for name in full:
        torch.testing.assert_close(folded[name], full[name], atol=1e-6, rtol=1e-4)


def test_hooks_of_both_modes_see_the_same(case: tuple[HookedModel, Task]) -> None:
    model, task = case
    inputs = task.train.inputs
    _, full = model.run_with_cache(inputs, mode="full")
    _, folded = model.run_with_cache(inputs, mode="folded")
    assert set(folded) >= set(model.folded_hooks)
    for name in folded:
        torch.testing.assert_close(folded[name], full[name], atol=1e-5, rtol=1e-5)


def test_a_hook_that_only_the_full_pass_makes_is_reached(case: tuple[HookedModel, Task]) -> None:
    model, task = case
    inputs = task.train.inputs
    before = model(inputs)
    silenced = model.run_with_hooks(
        inputs, fwd_hooks=[("hook_embed", lambda embed, hook: torch.zeros_like(embed))]
    )
    assert not torch.allclose(silenced, before)
    torch.testing.assert_close(model(inputs), before)


def test_knocking_out_every_neuron_leaves_what_does_not_pass_through_them() -> None:
    model = make_model(MLPConfig(d_model=20, d_mlp=9), TOKENS)
    logits = model.run_with_hooks(
        TOKENS.train.inputs,
        fwd_hooks=[("blocks.0.mlp.hook_post", lambda post, hook: torch.zeros_like(post))],
    )
    assert logits.abs().max() == 0


def test_initial_weights_have_the_stated_scale() -> None:
    task = make_task("add")
    model = make_model(MLPConfig(init_scale=2.0), task, seed=0)
    for name, d_in in {"W_E": 67, "W_in": 500, "W_out": 48, "W_U": 500}.items():
        weight = getattr(model, name)
        assert weight.std().item() == pytest.approx(2 / d_in**0.5, rel=0.02)
        assert abs(weight.mean().item()) < 0.05 / d_in**0.5


def test_seeds_settle_the_weights() -> None:
    one, same, other = (make_model(MLPConfig(), TOKENS, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.W_in, same.W_in)
    assert not torch.equal(one.W_in, other.W_in)


def test_former_names_of_modes_and_hooks_still_work() -> None:
    model = make_model(MLPConfig(d_model=20, d_mlp=9), TOKENS)
    inputs = TOKENS.train.inputs
    for mode, former in (("folded", "short"), ("full", "plain")):
        for call in (lambda f=former: model(inputs, f), lambda f=former: model(inputs, way=f)):
            with pytest.warns(DeprecationWarning, match=mode):
                assert torch.equal(call(), model(inputs, mode=mode))
    with pytest.warns(DeprecationWarning, match="folded_hooks"):
        assert model.short_hooks == model.folded_hooks
    with pytest.warns(DeprecationWarning, match="has_active_hooks"):
        assert not model.is_listened_to
    with pytest.warns(DeprecationWarning, match="connections"):
        assert model.wiring.joins == model.wiring.connections
