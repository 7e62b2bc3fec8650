"""Paths from tokens to neurons, and the order of residues in which a task is a shift."""

import numpy as np
import pytest
import torch

from analyses.measures.paths import input_weights, natural_order, natural_path, residues
from mechgrok.errors import UserError
from mechgrok.runs import Run
from mechgrok.tasks import make_task


def test_the_path_through_attention_is_the_sum_over_heads(tiny_transformer_run: Run) -> None:
    run = tiny_transformer_run
    weights = {name: w.numpy() for name, w in run.checkpoint(20).weights.items()}
    attn = "blocks.0.attn."
    expected = sum(
        weights["embed.W_E"]
        @ weights[f"{attn}W_V"][head]
        @ weights[f"{attn}W_O"][head]
        @ weights["blocks.0.mlp.W_in"]
        for head in range(2)
    )
    assert natural_path(run) == "attention"
    np.testing.assert_allclose(input_weights(run, [20])[0], expected, atol=1e-5)
    direct = input_weights(run, [20], path="direct")
    torch.testing.assert_close(direct, run.input_side([20]))


def test_chunks_of_steps_make_no_difference(
    tiny_transformer_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = input_weights(tiny_transformer_run)
    monkeypatch.setattr("analyses.measures.paths._LARGEST_STACK", 1)
    torch.testing.assert_close(input_weights(tiny_transformer_run), whole)


def test_an_mlp_has_no_attention(tiny_run: Run) -> None:
    assert natural_path(tiny_run) == "direct"
    torch.testing.assert_close(input_weights(tiny_run), tiny_run.input_side())
    with pytest.raises(UserError, match="no attention"):
        input_weights(tiny_run, path="attention")


def test_products_are_shifts_in_the_discrete_logarithm() -> None:
    assert natural_order(make_task("mul", p=7)) == "multiplicative"
    assert natural_order(make_task("div", p=7)) == "multiplicative"
    assert natural_order(make_task("mul", p=8)) == "additive"
    assert natural_order(make_task("sub", p=7)) == "additive"
    assert residues(make_task("mul", p=7)).tolist() == [1, 3, 2, 6, 4, 5]
    assert residues(make_task("mul", p=7), "additive").tolist() == list(range(7))
    with pytest.raises(UserError, match="8 is not prime"):
        residues(make_task("add", p=8), "multiplicative")
