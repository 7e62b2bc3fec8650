"""Units replaced by polynomials in waves, which test a formula for what they compute."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import Field

from mechgrok.interventions.fields import Hooks
from mechgrok.interventions.grids import BY_QUERY, subtracted_on_grid, task_and_harmonics
from mechgrok.interventions.units import UnitIntervention
from mechgrok.interventions.waves import own_parts, polynomial_fit

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from mechgrok.interventions.network import Network


class Fit(UnitIntervention):
    """Replaces units by their best polynomial in the waves of their own frequency.

    The fit is over all pairs (a, b), at the last position, in cos and sin of w_k a and of w_k b,
    with k the frequency that explains most of the unit's variance (one k for all weights of a
    head's attention). Of neurons, degree 2 replaces the activation function by the quadratic form
    that Nanda et al. 2023 (arXiv 2301.05217) describe; of ``blocks.0.attn.hook_pattern``, degree 1
    replaces attention by waves. On a group, entries of a representation replace the waves.

    Attributes:
        degree: 1, offset and waves; 2, also their squares and products.
    """

    degree: Literal[1, 2] = Field(default=2, description="Degree of the polynomial, 1 or 2.")

    def hooks(self, network: Network, inputs: Tensor) -> Hooks:
        place = self.place(network)
        _, parts = task_and_harmonics(network)
        positions = inputs.shape[1] if place.hook.endswith(BY_QUERY) else 1

        def residual(grid: Float[Tensor, "n n unit"]) -> Float[Tensor, "n n unit"]:
            own, rest = own_parts(grid, parts, positions), torch.zeros_like(grid)
            for part in own.unique().tolist():
                if part:  # A constant unit is its own fit.
                    units = own == part
                    fit = polynomial_fit(grid[..., units], parts.basis(part), self.degree)
                    rest[..., units] = grid[..., units] - fit
            return rest

        subtract = subtracted_on_grid(network, place.hook, parts, inputs, residual)

        def fitted(value: Tensor, hook: Any) -> Tensor:
            return place.replace(value, subtract(value))

        return [(place.hook, fitted)]
