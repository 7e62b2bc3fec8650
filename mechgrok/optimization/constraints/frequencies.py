"""Weights projected over the tokens: on frequencies, or on random directions."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, Self

import torch
from pydantic import Field, model_validator

from mechgrok.errors import UserError
from mechgrok.optimization.constraints.base import Constraint, Memory, Weights

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from mechgrok.tasks.harmonics import Harmonics


class OverTokens(Constraint):
    """A weight over the tokens, projected after every step: W ← Q Qᵀ W along the axis of tokens.

    The columns of Q are orthonormal functions of the tokens, the first a constant, so that the mean
    over tokens stays. Rows of other tokens (an = sign) are left as they are.
    """

    of: str = Field(default="W_E", description="Weights with an axis of tokens: W_E+W_U.")

    @abstractmethod
    def basis(self, parts: Harmonics) -> Float[Tensor, "n q"]:
        """Q, over the tokens in the order of the task's harmonics."""

    def check(self, weights: Weights) -> None:
        from mechgrok.tasks.harmonics import no_harmonics

        if reason := no_harmonics(weights.task):
            raise UserError(f"The constraint {self.name} does not apply: {reason}")
        self._projection(weights)
        for name in weights.names(self.of):
            weights.token_axis(name)
            if weights.is_masked(name):
                raise UserError(
                    f"{name} has a mask, under which it cannot be projected: leave it out, or "
                    "train without a mask."
                )

    def project(self, weights: Weights, memory: Memory, step: int) -> None:
        tokens, projection = weights.stored(id(self), lambda: self._projection(weights))
        for name in weights.names(self.of):
            raw = weights.raw[name]
            rows = raw if weights.token_axis(name) == 0 else raw.mT
            rows[tokens] = projection.to(rows) @ rows[tokens]

    def _projection(self, weights: Weights) -> tuple[Tensor, Float[Tensor, "n n"]]:
        from mechgrok.tasks.harmonics import harmonics

        parts = harmonics(weights.task)
        basis = self.basis(parts)
        return parts.tokens, basis @ basis.T


class Frequencies(OverTokens):
    """A weight over the tokens, projected on some frequencies after every step.

    Q has the orthonormal functions of the kept frequencies; of a group those of irreducible
    representations.
    """

    name: str = "frequencies"
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

    def basis(self, parts: Harmonics) -> Float[Tensor, "n q"]:
        chosen = self.remove if self.keep is None else self.keep
        named = parts.parse(str(chosen))
        everything = range(1, len(parts.names))
        return parts.functions(
            [0, *(part for part in everything if (part in named) != (self.keep is None))]
        )


class Subspace(OverTokens):
    """A weight over the tokens, projected on random directions after every step.

    Q has the constant and an orthonormal basis of directions drawn from a normal distribution: the
    control for `Frequencies` with as many dimensions.
    """

    name: str = "subspace"
    dimensions: Annotated[int, Field(ge=1)] = Field(
        default=10, description="Number of directions besides the constant; two per frequency."
    )
    seed: int = Field(default=0, description="Seed of the directions.")

    def basis(self, parts: Harmonics) -> Float[Tensor, "n q"]:
        constant = parts.functions([0])
        n = len(constant)
        if self.dimensions >= n:
            raise UserError(
                f"There are {n - 1} directions over {n} tokens besides the constant: write at most "
                f"subspace:dimensions={n - 1}."
            )
        generator = torch.Generator().manual_seed(self.seed)
        drawn = torch.randn(n, self.dimensions, generator=generator, dtype=constant.dtype)
        return torch.linalg.qr(torch.cat([constant, drawn], 1)).Q
