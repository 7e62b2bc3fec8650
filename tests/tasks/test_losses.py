"""Losses and regression against the formulas, worked out by hand."""

import math

import pytest
import torch

from mechgrok.configuration.run_config import RunConfig
from mechgrok.errors import UserError
from mechgrok.tasks import make_task
from mechgrok.tasks.losses import hinge, one_hot_mse, sign_mse, stablemax, stablemax_with_gradient
from mechgrok.tasks.objectives import OBJECTIVES
from mechgrok.tasks.polynomial import PolynomialRegression


def test_hinge_is_zero_beyond_the_margin_and_grows_linearly_within_it() -> None:
    outputs = torch.tensor([[2.0], [0.25], [0.25], [-3.0]])
    labels = torch.tensor([1, 1, 0, 0])
    assert hinge(outputs, labels).item() == pytest.approx((0 + 0.75 + 1.25 + 0) / 4)


def test_sign_mse_wants_minus_one_and_one() -> None:
    outputs, labels = torch.tensor([[1.0], [0.0]]), torch.tensor([1, 0])
    assert sign_mse(outputs, labels).item() == pytest.approx((0 + 1) / 2)


def test_one_hot_mse_averages_over_examples_and_answers() -> None:
    outputs = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    assert one_hot_mse(outputs, torch.tensor([0, 0])).item() == pytest.approx(0.5 / 4)


def test_answering_the_mean_leaves_all_variance_unexplained() -> None:
    task = PolynomialRegression(dimension=3, samples=50)
    labels = task.examples.labels
    mean = labels.mean().expand(len(labels), 1)
    assert task.loss(mean, labels).item() == pytest.approx(1, abs=1e-6)
    assert task.loss(labels[:, None], labels).item() == 0
    assert task.accuracy(labels[:, None], labels).item() == 1


def test_right_means_within_a_tenth_of_the_standard_deviation() -> None:
    task = PolynomialRegression(dimension=3, samples=50)
    labels = task.examples.labels.double()
    deviation = math.sqrt(labels.var(correction=0).item())
    off = labels.clone()
    off[:10] += 0.11 * deviation
    off[10:20] -= 0.09 * deviation
    assert task.accuracy(off[:, None], labels).item() == pytest.approx(0.8)


def test_stablemax_is_the_formula() -> None:
    outputs = torch.tensor([[3.0, -1.0, 0.0], [-3.0, 1.0, 1.0]])  # s: 4, 1/2, 1 and 1/4, 2, 2
    wanted = (math.log(5.5 / 4) + math.log(4.25 / 0.25)) / 2
    assert stablemax(outputs, torch.tensor([0, 0])).item() == pytest.approx(wanted)
    # At 1 the branch of s that is not taken, 1 / (1 − x), has a pole.
    at_the_pole = torch.tensor([[1.0, 0.0]], requires_grad=True)
    stablemax(at_the_pole, torch.tensor([0])).backward()
    # s(1) = 2 and s(0) = 1: 1/3 − 1/2, and 1/3.
    torch.testing.assert_close(at_the_pole.grad, torch.tensor([[-1 / 6, 1 / 3]]))


def test_stablemax_s_gradient_by_hand_is_autograd_s() -> None:
    draw = torch.Generator().manual_seed(0)
    outputs = 3 * torch.randn(20, 7, generator=draw)
    labels = torch.randint(7, (20,), generator=draw)
    leaf = outputs.clone().requires_grad_()
    loss = stablemax(leaf, labels)
    loss.backward()
    found, gradient = stablemax_with_gradient(outputs, labels)
    assert found.item() == loss.item()
    torch.testing.assert_close(gradient, leaf.grad)


def test_the_precision_of_cross_entropy_is_what_its_gradient_survives() -> None:
    """A lead of 50 nats: 2e-22 is the loss, which neither float32's nor float64's softmax has."""
    gradient = {}
    for name in ("cross-entropy", "cross-entropy-float64", "cross-entropy-float32"):
        for lead in (10.0, 20.0, 50.0):
            outputs = torch.tensor([[lead, 0.0]], requires_grad=True)
            OBJECTIVES.load(name).loss(outputs, torch.tensor([0])).backward()
            assert outputs.grad is not None
            gradient[name, lead] = -outputs.grad[0, 0].item()
    for lead in (10.0, 20.0, 50.0):
        assert gradient["cross-entropy", lead] == pytest.approx(math.exp(-lead), rel=1e-4)
    assert gradient["cross-entropy-float64", 20.0] == pytest.approx(math.exp(-20), rel=1e-6)
    assert gradient["cross-entropy-float32", 10.0] == pytest.approx(math.exp(-10), rel=1e-2)
    assert gradient["cross-entropy-float32", 20.0] == 0
    assert gradient["cross-entropy-float64", 50.0] == 0


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_modular_addition_is_trained_with_any_objective_that_tells_many_classes(name: str) -> None:
    if name == "hinge":
        with pytest.raises(UserError, match=r"7.*cross-entropy"):
            RunConfig.make(task={"name": "add", "p": 7, "objective": name})
        return
    task = make_task("add", p=7, objective=name)
    assert task.d_output == 7
    outputs = 40 * torch.nn.functional.one_hot(task.train.labels, 7).float()
    right = task.loss(outputs, task.train.labels)
    assert right < task.loss(-outputs, task.train.labels)
    assert task.accuracy(outputs, task.train.labels) == 1


def test_two_residues_share_an_output_and_have_a_token_each() -> None:
    task = make_task("add", p=2, pairs="ordered", objective="hinge")
    assert (task.d_output, task.d_vocab) == (1, 2)


def test_a_regression_has_no_other_objective() -> None:
    with pytest.raises(UserError, match="objective"):
        RunConfig.make(task={"name": "polynomial", "objective": "stablemax"})
