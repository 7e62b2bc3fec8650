"""Weight norms held at a value, at a multiple of an earlier norm, or below a bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from mechgrok.errors import UserError
from mechgrok.optimization.constraints.base import EACH, Constraint, Memory, Weights

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Norm(Constraint):
    """‖θ‖₂ of effective weights, held by scaling the trained ones with one factor.

    With ``value`` it is held there, with ``times`` at that multiple of the norm at step ``at``, and
    with ``max`` it is only ever scaled down to there. ``of=all`` is one norm over all weights,
    ``of=each`` a norm for every weight, ``of=W_E+W_U`` or a side one norm over these.

    The factor s solves s² Σ_trained w² + Σ_frozen w² = (held norm)².

    Source: Liu et al. 2022 (arXiv 2210.01117), who train on spheres of constant weight norm.
    """

    name: str = "norm"
    of: str = Field(
        default="all", description="all, each, input, inside, output, or weights: W_E+W_U."
    )
    value: Positive | None = Field(default=None, description="Hold the norm at this value.")
    times: Positive | None = Field(
        default=None, description="Hold the norm at this multiple of the norm at step `at`."
    )
    at: Annotated[int, Field(ge=0)] = Field(
        default=0, description="With times: the step of the reference norm."
    )
    max: Positive | None = Field(default=None, description="Scale the norm down to this value.")

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        given = [name for name in ("value", "times", "max") if getattr(self, name) is not None]
        if len(given) != 1:
            raise UserError(
                "The constraint norm needs one of value, times and max"
                + (f", not {' and '.join(given)}" if given else "")
                + ": write norm:value=30 or norm:times=1."
            )
        return self

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
        if self.times is not None and step == self.at:
            for name in weights.names(self.of):
                memory[name]["reference"] = _square(weights, name)

    def project(self, weights: Weights, memory: Memory, step: int) -> None:
        import torch

        for names in self._groups(weights):
            trained = [name for name in names if weights.is_trained(name)]
            if not trained:
                continue
            squares = [_square(weights, name) for name in names]
            total = torch.stack(squares).sum()
            of_trained = torch.stack([_square(weights, name) for name in trained]).sum()
            target = self._target(names, memory)
            if self.max is not None and total <= target:
                continue
            left = target - (total - of_trained) if len(trained) < len(names) else target
            if left <= 0 or of_trained <= 0:
                raise UserError(
                    f"The norm of {' and '.join(names)} cannot be held at "
                    f"{float(target) ** 0.5:.4g} at step {step + 1:,}: "
                    + ("frozen weights exceed it." if left <= 0 else "all trained weights are 0.")
                )
            factor = (left / of_trained).sqrt()
            for name in trained:
                weights.scale(name, factor.to(weights.raw[name].dtype))

    def _target(self, names: list[str], memory: Memory) -> Float[Tensor, ""]:
        """The square of the norm to hold."""
        import torch

        if self.times is None:
            return torch.tensor(float(self.value or self.max or 0), dtype=torch.float64) ** 2
        return self.times**2 * torch.stack([memory[name]["reference"] for name in names]).sum()

    def _groups(self, weights: Weights) -> list[list[str]]:
        """The names of the weights of each norm that is held."""
        names = weights.names(self.of)
        return [[name] for name in names] if self.of == EACH else [names]


def _square(weights: Weights, name: str) -> Float[Tensor, ""]:
    """Σ w² of a weight under its mask, in float64."""
    return weights[name].detach().double().square().sum()
