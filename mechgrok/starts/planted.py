"""Drawn weights plus waves of chosen frequencies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from mechgrok.errors import UserError
from mechgrok.starts.base import Drawn, Start

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class Planted(Start):
    """W + A Σ_k cos(2πkx/p + φ_ck) over the tokens x in every column c of an embedding.

    The phases φ are random. A group has irreducible representations instead of frequencies: every
    column gets a random function of each, whose mean square over the elements is A²/2 as well. Rows
    of other tokens (an = sign) stay drawn. Of W_U, every row gets waves over the answers.
    """

    name: str = "planted"
    frequencies: int | str = Field(description="Frequencies, or representations: 1+3+16.")
    amplitude: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        default=0.1, description="Amplitude A of every wave."
    )
    of: str = Field(default="W_E", description="Weights with an axis of tokens: W_E+W_U.")

    def initial_weights(self, drawn: Drawn) -> Mapping[str, Float[Tensor, "..."]]:
        from mechgrok.tasks.harmonics import harmonics, no_harmonics

        if reason := no_harmonics(drawn.task):
            raise UserError(f"Waves cannot be planted: {reason}")
        parts = harmonics(drawn.task)
        chosen = parts.numbered(str(self.frequencies).split("+"))
        planted = {}
        for name in drawn.names(self.of):
            axis, weight = drawn.token_axis(name), drawn.raw[name].clone()
            rows = weight if axis == 0 else weight.mT
            for part in chosen:
                rows[parts.tokens] += self._waves(parts.basis(part), rows, drawn)
            planted[name] = weight
        return planted

    def _waves(
        self, basis: Float[Tensor, "n m"], rows: Float[Tensor, "n column"], drawn: Drawn
    ) -> Float[Tensor, "n column"]:
        """A random function of one part for every column, of mean square A²/2."""
        import torch

        direction = torch.randn(basis.shape[1], rows.shape[1], generator=drawn.generator)
        direction /= direction.norm(dim=0)
        scale = self.amplitude * (len(basis) / 2) ** 0.5
        return scale * basis.to(rows) @ direction.to(rows)
