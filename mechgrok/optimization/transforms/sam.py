"""SAM: the gradient at the highest loss in a small ball around the weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from mechgrok.optimization.transforms.base import Transform
from mechgrok.optimization.transforms.clip import common_norm

if TYPE_CHECKING:
    from torch import Tensor


class SAM(Transform):
    """Sharpness-aware minimization: the gradient at θ + ρ g / ‖g‖ replaces the gradient g at θ.

    ‖g‖ is over all trained weights of a network. A step takes two gradients; its recorded loss is
    the one at θ.

    Source: Foret et al. 2021 (arXiv 2010.01412), equations 2 and 3; ρ = 0.05 is their default.
    """

    name: str = "sam"
    rho: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        default=0.05, description="Radius ρ of SAM's ball around the weights."
    )

    def lookahead(self, gradients: list[Tensor], weights: Sequence[Tensor]) -> list[Tensor]:
        scale = self.rho / (common_norm(gradients) + 1e-30)
        return [gradient * scale for gradient in gradients]
