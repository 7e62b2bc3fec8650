"""Weight norms held at a value, at an earlier or another run's norm, or below a bound."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from mechgrok.errors import UserError
from mechgrok.optimization.constraints.base import Constraint, Memory, Weights
from mechgrok.optimization.constraints.following import Following
from mechgrok.optimization.selection import ALL, EACH

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

#: Names of weights whose common norm is held by scaling the trained ones.
_TrainedAndFrozen = tuple[list[str], list[str]]


class Norm(Following):
    """‖θ‖₂ of effective weights, held by scaling the trained ones with one factor.

    With ``value`` it is held there, with ``times`` at that multiple of the norm at step ``at``, and
    with ``max`` it is only ever scaled down to there; with ``like`` it follows another run's norm.
    ``of=all`` is one norm over all weights, ``of=each`` a norm for every weight, ``of=W_E+W_U`` or
    a side one norm over these.

    The factor s solves s² Σ_trained w² + Σ_frozen w² = (held norm)².

    Source: Liu et al. 2022 (arXiv 2210.01117), who train on spheres of constant weight norm.
    """

    column: ClassVar[str] = "l2"

    name: str = "norm"
    of: str = Field(
        default="all", description="all, each, input, inside, output, or weights: W_E+W_U."
    )
    value: Positive | None = Field(default=None, description="Hold the norm at this value.")
    times: Positive | None = Field(
        default=None, description="Hold the norm at this multiple of the norm at step `at`."
    )
    at: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="With times: the step of the reference norm; in a later phase, its first step.",
    )
    max: Positive | None = Field(default=None, description="Scale the norm down to this value.")

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        targets = ("value", "times", "max", "like")
        given = [name for name in targets if getattr(self, name) is not None]
        if len(given) != 1:
            raise UserError(
                "The constraint norm needs one of value, times, max and like"
                + (f", not {' and '.join(given)}" if given else "")
                + ": write norm:value=30 or norm:times=1."
            )
        if self.like is not None and self.of != ALL:
            raise UserError(
                f"Runs record the norm of all weights alone, so that norm:like cannot follow that "
                f"of {self.of}: omit of."
            )
        return self

    def conflicts(self, other: Constraint) -> bool:
        if not isinstance(other, Norm) or self.max is not None or other.max is not None:
            return False
        return self.of == other.of or EACH in (self.of, other.of)

    def is_active(self, step: int) -> bool:
        reference_known = self.times is None or step >= self.at
        return reference_known and super().is_active(step)

    def check(self, weights: Weights) -> None:
        for names in self._groups(weights):
            if not any(weights.raw[name].requires_grad for name in names):
                raise UserError(
                    f"The norm of {' and '.join(names)} cannot be held: no such weight is trained."
                )

    def begin(self, weights: Weights, memory: Memory, step: int) -> None:
        if self.times is None or step < self.at:
            return
        names = weights.names(self.of)
        if "reference" in memory[names[0]]:
            return
        import torch

        for name, norm in zip(names, weights.norms(names), strict=True):
            reference = torch.tensor(norm, dtype=torch.float64, device=weights.raw[name].device)
            memory[name]["reference"] = reference

    def project(self, weights: Weights, memory: Memory, step: int) -> None:
        names, groups = weights.stored(
            (id(self), frozenset(weights.frozen)), lambda: self._trained_groups(weights)
        )
        norms = dict(zip(names, weights.norms(names), strict=True))
        factors: dict[str, float] = {}
        for trained, frozen in groups:
            norm = math.hypot(*[norms[name] for name in trained])
            rest = math.hypot(*[norms[name] for name in frozen])
            target = self._target([*trained, *frozen], memory, step + 1)
            if self.max is not None and math.hypot(norm, rest) <= target:
                continue
            if rest >= target or not norm:
                raise UserError(
                    f"The norm of {' and '.join([*trained, *frozen])} cannot be held at "
                    f"{target:.4g} at step {step + 1:,}: "
                    + (
                        "that of frozen weights is larger."
                        if norm
                        else "all trained weights are 0."
                    )
                )
            factors |= dict.fromkeys(trained, math.sqrt(target**2 - rest**2) / norm)
        weights.scale(list(factors), list(factors.values()))

    def _target(self, names: list[str], memory: Memory, step: int) -> float:
        """The norm to hold at a step."""
        if self.like is not None:
            return self.followed(step)
        if self.times is None:
            return self.value or self.max or 0.0
        return self.times * math.hypot(*(float(memory[name]["reference"]) for name in names))

    def _trained_groups(self, weights: Weights) -> tuple[list[str], list[_TrainedAndFrozen]]:
        """All weights, and the trained and the frozen ones of each norm that can be held now."""
        groups = []
        for group in self._groups(weights):
            trained = [name for name in group if weights.is_trained(name)]
            if trained:
                groups.append((trained, [name for name in group if name not in trained]))
        return [name for trained, frozen in groups for name in [*trained, *frozen]], groups

    def _groups(self, weights: Weights) -> list[list[str]]:
        """The names of the weights of each norm that is held."""
        names = weights.names(self.of)
        return [[name] for name in names] if self.of == EACH else [names]
