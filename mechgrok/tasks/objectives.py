"""Objectives: the loss, the accuracy and the criteria of learning.

A new objective is one entry here, or in another package (entry points of ``mechgrok.objectives``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from pydantic import AfterValidator

from mechgrok.errors import UserError
from mechgrok.registry import Registry
from mechgrok.tasks import losses

if TYPE_CHECKING:
    from torch import Tensor


class Criterion(NamedTuple):
    """A threshold for learning: an accuracy of at least, or a loss of at most, ``level``."""

    quantity: Literal["accuracy", "loss"]
    level: float

    def is_met(self, row: Mapping[str, float]) -> bool:
        """Whether the test set meets the criterion in a row of metrics."""
        value = row[f"test_{self.quantity}"]
        return value >= self.level if self.quantity == "accuracy" else value <= self.level


_RIGHT = Criterion("accuracy", 0.95)


@dataclass(frozen=True)
class Objective:
    """The objective of training.

    Attributes:
        name: the name in the registry.
        loss: (outputs ``[n, d_output]``, labels) → the mean loss, in float64.
        accuracy: (outputs, labels) → the share of right answers, in float64.
        unit: the unit of the loss.
        criterion: the test curve's criterion of generalization.
        train_criterion: the train curve's criterion of memorization.
        by_sign: whether two classes share one output and differ in its sign.
        with_gradient: (outputs, labels) → the mean loss and its hand-coded gradient at the outputs;
            None to use autograd.
        softmax: whether outputs are logits of a softmax, which a temperature divides.
    """

    name: str
    loss: Callable[[Tensor, Tensor], Tensor]
    accuracy: Callable[[Tensor, Tensor], Tensor]
    unit: str
    criterion: Criterion = _RIGHT
    train_criterion: Criterion = _RIGHT
    by_sign: bool = False
    with_gradient: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
    softmax: bool = False

    def d_output(self, classes: int) -> int:
        """The number of outputs for this number of classes.

        Raises:
            UserError: there are more classes than the objective supports.
        """
        if self.name == "hinge" and classes > 2:
            raise UserError(
                f"The hinge loss supports two classes, not {classes}: choose cross-entropy or mse."
            )
        return 1 if self.by_sign and classes == 2 else classes

    def __str__(self) -> str:
        return self.name


OBJECTIVES: Registry[Objective] = Registry(
    "objective",
    "mechgrok.objectives",
    {
        objective.name: objective
        for objective in (
            Objective(
                "cross-entropy",
                losses.cross_entropy,
                losses.accuracy,
                "nats",
                with_gradient=losses.cross_entropy_with_gradient,
                softmax=True,
            ),
            *(
                Objective(f"cross-entropy-{precision}", loss, losses.accuracy, "nats", softmax=True)
                for precision, loss in (
                    ("float64", losses.cross_entropy_float64),
                    ("float32", losses.cross_entropy_float32),
                )
            ),
            Objective(
                "stablemax",
                losses.stablemax,
                losses.accuracy,
                "nats of stablemax",
                with_gradient=losses.stablemax_with_gradient,
                softmax=True,
            ),
            Objective("mse", losses.mse, losses.accuracy, "mean squared error", by_sign=True),
            Objective("hinge", losses.hinge, losses.accuracy, "mean hinge loss", by_sign=True),
        )
    },
)


def regression(variance: Tensor) -> Objective:
    """⟨(f(x) − y)²⟩ / Var(y): the unexplained share of the labels' variance.

    An output is right within a tenth of the labels' standard deviation from its label. The criteria
    are a test loss of at most 0.1 and a train loss of at most 0.01.
    """
    return Objective(
        "regression",
        lambda outputs, labels: losses.unexplained(outputs, labels, variance),
        lambda outputs, labels: losses.within_a_tenth(outputs, labels, variance),
        "share of the labels' variance",
        Criterion("loss", 0.1),
        Criterion("loss", 0.01),
    )


def _known(name: str) -> str:
    OBJECTIVES.load(name)
    return name


#: The name of an objective, as a field of a task.
ObjectiveName = Annotated[str, AfterValidator(_known)]
