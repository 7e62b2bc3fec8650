"""Losses other than the usual cross-entropy, and the tasks that let a person choose one."""

from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from mechgrok.tasks.base import Criterion, Task

Objective = Literal["cross-entropy", "mse", "hinge"]
#: What each objective is counted in.
UNITS: dict[str, str] = {
    "cross-entropy": "nats",
    "mse": "mean squared error",
    "hinge": "mean hinge loss",
    "regression": "share of the labels' variance",
}


def one_hot_mse(
    outputs: Float[Tensor, "n answer"], labels: Integer[Tensor, " n"]
) -> Float[Tensor, ""]:
    """(1 / n C) Σ_i Σ_c (f_c(x_i) − [c = y_i])² over n examples and C answers, in float64.

    Source: the MNIST set-up of Liu et al. 2022 (arXiv 2210.01117, Omnigrok).
    """
    wanted = torch.nn.functional.one_hot(labels, outputs.shape[1])
    return torch.nn.functional.mse_loss(outputs.double(), wanted.double())


def hinge(outputs: Float[Tensor, "n 1"], labels: Integer[Tensor, " n"]) -> Float[Tensor, ""]:
    """Mean of max(0, 1 − y f(x)) for one output and labels 0, 1 read as y = −1, 1."""
    return (1 - signs(labels) * outputs[:, 0].double()).clamp_min(0).mean()


def sign_mse(outputs: Float[Tensor, "n 1"], labels: Integer[Tensor, " n"]) -> Float[Tensor, ""]:
    """Mean of (f(x) − y)² for one output and labels 0, 1 read as y = −1, 1."""
    return (outputs[:, 0].double() - signs(labels)).square().mean()


def signs(labels: Integer[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Labels 0 and 1 as the numbers −1 and 1."""
    return 2.0 * labels.double() - 1


class Regression(Task):
    """A task whose labels are real numbers ``[n]`` or vectors ``[n, d_output]``.

    The loss is the share of the labels' variance that is left unexplained, so that it is 1 for a
    network that answers the mean and means the same for every task:
    ⟨(f(x) − y)²⟩ / Var(y), with Var(y) over train and test examples together.
    """

    input_kind = "vectors"
    criterion = Criterion("loss", 0.1)
    train_criterion = Criterion("loss", 0.01)

    @property
    def d_output(self) -> int:
        return self.targets(self.examples.labels).shape[1]

    @staticmethod
    def targets(labels: Float[Tensor, "n ..."]) -> Float[Tensor, "n d_output"]:
        """Labels as rows of outputs, in float64."""
        return labels.double().reshape(len(labels), -1)

    @cached_property
    def _variance(self) -> Float[Tensor, ""]:
        return self.targets(self.examples.labels).var(dim=0, correction=0).mean()

    def loss(
        self, outputs: Float[Tensor, "n d_output"], labels: Float[Tensor, "n ..."]
    ) -> Float[Tensor, ""]:
        """⟨(f(x) − y)²⟩ / Var(y), in float64."""
        error = torch.nn.functional.mse_loss(outputs.double(), self.targets(labels))
        return error / self._variance.to(error.device)

    @property
    def loss_units(self) -> str:
        own = type(self).loss is not Regression.loss
        return super().loss_units if own else UNITS["regression"]

    def accuracy(
        self, outputs: Float[Tensor, "n d_output"], labels: Float[Tensor, "n ..."]
    ) -> Float[Tensor, ""]:
        """Share of outputs within a tenth of the labels' standard deviation of their label."""
        error = (outputs.double() - self.targets(labels)).abs()
        return (error <= 0.1 * self._variance.sqrt().to(error.device)).double().mean()
