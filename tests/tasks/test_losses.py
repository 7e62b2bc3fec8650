"""Losses and regression against the formulas, worked out by hand."""

import math

import pytest
import torch

from mechgrok.tasks.losses import hinge, one_hot_mse, sign_mse
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
