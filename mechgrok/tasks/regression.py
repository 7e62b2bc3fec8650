"""Regression: tasks with real labels."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from mechgrok.errors import UserError
from mechgrok.tasks.base import Task
from mechgrok.tasks.losses import targets
from mechgrok.tasks.objectives import Objective, regression

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class Regression(Task):
    """A task with real labels ``[n]`` or ``[n, d_output]``.

    The loss is the unexplained share of the labels' variance, ⟨(f(x) − y)²⟩ / Var(y), with Var(y)
    over train and test examples together. It is 1 for the mean as answer and comparable between
    tasks.
    """

    input_kind = "vectors"

    @cached_property
    def training_objective(self) -> Objective:
        """`mechgrok.tasks.objectives.regression`, with this task's variance."""
        if self.objective is not None:
            raise UserError(
                f"The task {self.name} is a regression, whose loss is the unexplained share of the "
                "labels' variance: omit the objective."
            )
        return regression(self._variance)

    @property
    def d_output(self) -> int:
        return targets(self.examples.labels).shape[1]

    @cached_property
    def _variance(self) -> Float[Tensor, ""]:
        return targets(self.examples.labels).var(dim=0, correction=0).mean()
