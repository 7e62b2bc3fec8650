"""Weights of another run, the rest drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import Field

from mechgrok.errors import UserError
from mechgrok.optimization.constraints.base import ALL
from mechgrok.starts.base import Drawn, FromRun

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class Transplant(FromRun):
    """Weights of another run at a step; the others are drawn.

    The weights of a ticket are θ ⊙ m. Its mask is not transplanted: pruned entries start at 0 and
    are trained.
    """

    name: str = "run"
    weights: str = Field(
        default=ALL, description="all, input, inside, output, or names of weights: W_E+W_U."
    )

    def initial_weights(self, drawn: Drawn) -> Mapping[str, Float[Tensor, "..."]]:
        return {name: self._transplanted(name, drawn) for name in drawn.names(self.weights)}

    def _transplanted(self, name: str, drawn: Drawn) -> Float[Tensor, "..."]:
        weight, fresh = self.source_weight(name, drawn), drawn.raw[name]
        if weight.shape != fresh.shape:
            raise UserError(
                f"{self.described(name)} has shape {tuple(weight.shape)}, but the network needs "
                f"{tuple(fresh.shape)}: choose other weights, or a network of the same widths."
            )
        return self.rescaled(weight, fresh)
