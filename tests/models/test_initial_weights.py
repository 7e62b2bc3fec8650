"""Weights are drawn in the wiring's order from one generator, each with its own scale."""

import math
from typing import Any

import pytest
import torch

from mechgrok.masks.config import PopupConfig
from mechgrok.masks.popup import apply_popup, scores_of
from mechgrok.models import (
    HookedMLP,
    HookedPositionalMLP,
    HookedTransformer,
    MLPConfig,
    PositionalMLPConfig,
    TransformerConfig,
    raw_weights,
)

SIZES: dict[str, Any] = {"d_vocab": 7, "n_ctx": 2, "d_output": 6, "seed": 3}
SCALE = 1.5
SHAPE: dict[str, Any] = {"d_model": 8, "d_mlp": 5, "init_scale": SCALE}
#: Shape and d_in of every weight that is drawn, in the order of drawing; d_in 0 for zeros.
Drawn = dict[str, tuple[tuple[int, ...], int]]
DEEP: Drawn = {
    "W_E": ((7, 8), 7),
    "W_in": ((8, 5), 8),
    "W_hidden_1": ((5, 5), 5),
    "W_out": ((5, 8), 5),
    "W_U": ((8, 6), 8),
}
WITHOUT_EMBEDDING: Drawn = {"W_in": ((7, 5), 7), "W_out": ((5, 6), 5)}


def block(layer: int) -> Drawn:
    """Two heads of width 3."""
    attn, mlp = f"blocks.{layer}.attn.", f"blocks.{layer}.mlp."
    return {
        **{f"{attn}{name}": ((2, 8, 3), 8) for name in ("W_Q", "W_K", "W_V")},
        f"{attn}W_O": ((2, 3, 8), 6),
        f"{mlp}W_in": ((8, 5), 8),
        f"{mlp}b_in": ((5,), 0),
        f"{mlp}W_out": ((5, 8), 5),
        f"{mlp}b_out": ((8,), 0),
    }


CASES = {
    "mlp": (HookedMLP(MLPConfig(n_layers=2, **SHAPE), **SIZES), DEEP),
    "mlp with biases": (
        HookedMLP(MLPConfig(n_layers=2, bias=True, **SHAPE), **SIZES),
        DEEP | {"b_in": ((5,), 0), "b_hidden_1": ((5,), 0), "b_out": ((8,), 0)},
    ),
    "mlp without embedding": (
        HookedMLP(MLPConfig(**SHAPE | {"d_model": None}), **SIZES),
        WITHOUT_EMBEDDING,
    ),
    "side by side": (
        HookedPositionalMLP(PositionalMLPConfig(join="concat", **SHAPE), **SIZES),
        {
            "W_E_0": ((7, 8), 7),
            "W_E_1": ((7, 8), 7),
            "W_in": ((16, 5), 16),
            "W_out": ((5, 8), 5),
            "W_U": ((8, 6), 8),
        },
    ),
    "transformer": (
        HookedTransformer(TransformerConfig(n_layers=2, n_heads=2, d_head=3, **SHAPE), **SIZES),
        {
            "embed.W_E": ((7, 8), 7),
            "pos_embed.W_pos": ((2, 8), 8),  # as wide as what it is added to, to stay small
            **block(0),
            **block(1),
            "unembed.W_U": ((8, 6), 8),
        },
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_weights_are_normal_to_the_bit(case: tuple[torch.nn.Module, Drawn]) -> None:
    model, drawn = case
    generator = torch.Generator().manual_seed(3)
    weights = raw_weights(model)
    assert list(weights) == list(drawn)
    for name, (shape, d_in) in drawn.items():
        expected = torch.zeros(shape)
        if d_in:
            expected = torch.randn(shape, generator=generator) * (SCALE / math.sqrt(d_in))
        assert torch.equal(weights[name], expected), name


def test_linear_weights_and_their_biases_are_uniform_to_the_bit() -> None:
    config = MLPConfig(n_layers=2, bias=True, init="linear", **SHAPE)
    weights = raw_weights(HookedMLP(config, **SIZES))
    generator = torch.Generator().manual_seed(3)
    biases: Drawn = {"b_in": ((5,), 8), "b_hidden_1": ((5,), 5), "b_out": ((8,), 5)}
    for name, (shape, d_in) in (DEEP | biases).items():
        uniform = 2 * torch.rand(shape, generator=generator) - 1
        assert torch.equal(weights[name], uniform * (SCALE / math.sqrt(d_in))), name


def test_popup_draws_scores_apart_from_weights() -> None:
    model = HookedMLP(MLPConfig(**SHAPE), **SIZES)
    before = {name: weight.clone() for name, weight in raw_weights(model).items()}
    apply_popup(model, PopupConfig(rate=0.5, score_seed=4))
    assert all(torch.equal(weight, before[name]) for name, weight in raw_weights(model).items())
    generator = torch.Generator().manual_seed(4)
    for name, scores in scores_of(model).items():
        d_in, d_out = before[name].shape
        uniform = 2 * torch.rand(d_in, d_out, generator=generator) - 1
        assert torch.equal(scores, uniform / d_in**0.5)
