"""Sparse parity: what it is, and a network that solves it by construction."""

from itertools import product

import pytest
import torch

from mechgrok.errors import UserError
from mechgrok.models import MLPConfig, make_model
from mechgrok.tasks import make_task
from mechgrok.tasks.parity import SparseParity


def test_the_label_is_the_product_of_the_first_k_bits() -> None:
    task = SparseParity(n=6, k=3, samples=64)
    inputs, labels = task.examples
    assert set(inputs.unique().tolist()) == {-1.0, 1.0}
    for row, label in zip(inputs.tolist(), labels.tolist(), strict=True):
        assert label == (row[0] * row[1] * row[2] > 0)


def test_few_bits_are_drawn_without_repetition() -> None:
    inputs = SparseParity(n=6, samples=64).examples.inputs
    assert {tuple(row) for row in inputs.tolist()} == set(product((-1.0, 1.0), repeat=6))


def test_the_papers_setting_has_a_thousand_examples_on_either_side() -> None:
    task = make_task("parity")
    assert (task.train.inputs.shape, task.test.inputs.shape) == ((1000, 40), (1000, 40))
    assert abs(task.train.labels.double().mean().item() - 0.5) < 0.1
    other = make_task("parity", sample_seed=1)
    assert not torch.equal(task.examples.inputs, other.examples.inputs)


@pytest.mark.parametrize(
    ("objective", "d_output"), [("hinge", 1), ("mse", 1), ("cross-entropy", 2)]
)
def test_a_network_that_answers_right_is_measured_so(objective: str, d_output: int) -> None:
    task = SparseParity(n=5, k=2, samples=32, objective=objective)
    inputs, labels = task.examples
    sign = inputs[:, 0] * inputs[:, 1]
    outputs = 40 * (sign[:, None] if d_output == 1 else torch.stack([-sign, sign], dim=1))
    assert task.d_output == d_output
    assert task.accuracy(outputs, labels).item() == 1
    assert task.accuracy(-outputs, labels).item() == 0
    assert task.loss(outputs / 40 if objective == "mse" else outputs, labels).item() < 1e-9


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"n": 3, "k": 4}, "k ≤ n"),
        ({"n": 4, "samples": 17}, "16"),
        ({"objective": "absolute"}, "'absolute'"),
    ],
)
def test_impossible_settings_are_refused(fields: dict, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        make_task("parity", **fields)


def test_a_transformer_is_refused() -> None:
    from mechgrok.models import TransformerConfig

    with pytest.raises(UserError, match="--model mlp"):
        make_model(TransformerConfig(), make_task("parity"))


def test_hooks_see_a_plain_network_of_linear_layers() -> None:
    task = SparseParity(n=6, samples=40)
    config = MLPConfig(d_model=None, d_mlp=9, n_layers=2, bias=True, init="linear")
    model = make_model(config, task, seed=1)
    x = task.examples.inputs
    outputs, cache = model.run_with_cache(x)
    first = torch.relu(x @ model.W_in + model.b_in)
    second = torch.relu(first @ model.W_hidden_1 + model.b_hidden_1)
    torch.testing.assert_close(cache["blocks.0.mlp.hook_post"], first)
    torch.testing.assert_close(cache["blocks.1.mlp.hook_post"], second)
    torch.testing.assert_close(outputs, second @ model.W_out + model.b_out)
    torch.testing.assert_close(model(x, mode="folded"), model(x, mode="full"))


def test_linear_initialization_is_that_of_nn_linear_times_its_scale() -> None:
    task = make_task("parity")
    config = MLPConfig(d_model=None, d_mlp=1000, bias=True, init="linear", init_scale=8)
    model = make_model(config, task)
    bound = 8 / 40**0.5
    for weight in (model.W_in, model.b_in):
        assert weight.abs().max().item() <= bound
        # The standard deviation of a uniform draw from [−b, b] is b / √3.
        assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
