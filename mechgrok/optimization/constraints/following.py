"""Constraints that follow a value recorded by another run, step by step."""

from __future__ import annotations

import itertools
import os.path
from bisect import bisect_right
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field, model_validator

from mechgrok.errors import UserError
from mechgrok.fields import show_named
from mechgrok.optimization.constraints.base import Constraint

#: Stands for the parent's folder in a run that is derived from another.
PARENT = "parent"


def _absolute(path: Any) -> Any:
    return path if path in (None, PARENT) else os.path.abspath(os.path.expanduser(str(path)))


class Following(Constraint):
    """A constraint whose value may be that of another run, a column of its ``metrics.csv``.

    When the run is created, the column becomes the ``schedule`` and is stored in ``config.json``.
    Afterwards the other run is not needed.
    """

    #: The column that is followed.
    column: ClassVar[str]

    like: Annotated[str | None, BeforeValidator(_absolute)] = Field(
        default=None,
        exclude_if=lambda path: path is None,
        description="Follow another run, step by step: its folder, or parent.",
    )
    schedule: (
        tuple[
            tuple[Annotated[int, Field(ge=0)], Annotated[float, Field(gt=0, allow_inf_nan=False)]],
            ...,
        ]
        | None
    ) = Field(
        default=None,
        exclude_if=lambda schedule: schedule is None,
        description="Steps and the other run's values there; read from it.",
    )

    @model_validator(mode="after")
    def _schedule_in_order(self) -> Self:
        if self.schedule is None:
            return self
        steps = [step for step, _ in self.schedule]
        if self.like is None or not steps or any(a >= b for a, b in itertools.pairwise(steps)):
            raise UserError(
                f"The schedule of the constraint {self.name} needs the run that it is from (like) "
                "and one or several steps in ascending order: give like alone to read it from "
                "that run."
            )
        return self

    def followed(self, step: int) -> float:
        """The other run's value at a step, interpolated; beyond its last step, the last value.

        Raises:
            UserError: it has not been read yet.
        """
        if not self.schedule:
            raise UserError(
                f"{self} has no values of that run yet: create the run with mechgrok.train."
            )
        after = bisect_right(self.schedule, step, key=lambda pair: pair[0])
        if after == len(self.schedule) or after == 0:
            return self.schedule[max(0, after - 1)][1]
        (first, low), (last, high) = self.schedule[after - 1], self.schedule[after]
        return low + (high - low) * (step - first) / (last - first)

    def __str__(self) -> str:
        return show_named(self.model_copy(update={"schedule": None}))
