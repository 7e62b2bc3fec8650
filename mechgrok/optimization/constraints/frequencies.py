"""Frequencies of weights over the tokens, kept or removed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from mechgrok.errors import UserError
from mechgrok.optimization.constraints.base import Constraint, Memory, Weights

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class Frequencies(Constraint):
    """A weight over the tokens, projected on some frequencies after every step.

    W ← Q Qᵀ W along the axis of the tokens, with Q the orthonormal functions of the kept
    frequencies; of a group those of irreducible representations. The mean over tokens stays. Rows
    of other tokens (an = sign) are left as they are.
    """

    name: str = "frequencies"
    of: str = Field(default="W_E", description="Weights with an axis of tokens: W_E+W_U.")
    keep: int | str | None = Field(default=None, description="Frequencies that stay: 1+3+16.")
    remove: int | str | None = Field(default=None, description="Frequencies that are removed: 29.")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.keep is None) == (self.remove is None):
            raise UserError(
                "The constraint frequencies needs either keep or remove: write "
                "frequencies:of=W_E:keep=1+3+16."
            )
        return self

    def check(self, weights: Weights) -> None:
        from mechgrok.tasks.harmonics import no_harmonics

        if reason := no_harmonics(weights.task):
            raise UserError(f"The constraint frequencies does not apply: {reason}")
        self._projection(weights)
        for name in weights.names(self.of):
            weights.token_axis(name)
            if weights.is_masked(name):
                raise UserError(
                    f"{name} has a mask, under which its frequencies cannot be chosen: leave it "
                    "out, or train without a mask."
                )

    def project(self, weights: Weights, memory: Memory, step: int) -> None:
        tokens, projection = weights.stored(id(self), lambda: self._projection(weights))
        for name in weights.names(self.of):
            raw = weights.raw[name]
            rows = raw if weights.token_axis(name) == 0 else raw.mT
            rows[tokens] = projection.to(rows) @ rows[tokens]

    def _projection(self, weights: Weights) -> tuple[Tensor, Float[Tensor, "n n"]]:
        """The tokens in order, and the projection on the constants and the kept frequencies."""
        from mechgrok.tasks.harmonics import harmonics

        parts = harmonics(weights.task)
        chosen = self.remove if self.keep is None else self.keep
        named = parts.parse(str(chosen))
        everything = range(1, len(parts.names))
        kept = [part for part in everything if (part in named) != (self.keep is None)]
        basis = parts.functions([0, *kept])
        return parts.tokens, basis @ basis.T
