"""⊥Grad: removes the part of the gradient along the weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from mechgrok.optimization.transforms.base import State, Transform

if TYPE_CHECKING:
    from torch import Tensor

#: Avoids division by a norm of 0.
_TINY = 1e-30


class OrthoGrad(Transform):
    """g ← g − (w·g / w·w) w for each weight w: ⊥Grad.

    A network that is right everywhere can lower the loss along its weights, by scaling its logits
    up, without changing an answer; ⊥Grad removes that part of the step. By default the remaining
    gradient is scaled to the original length, as in the authors' code.

    Source: Prieto et al. 2025 (arXiv 2501.04697), section 5.
    """

    separable: ClassVar[bool] = True

    name: str = "orthograd"
    rescale: bool = Field(
        default=True, description="Rescale orthograd's result to the gradient's length."
    )

    def change(
        self, gradients: list[Tensor], weights: Sequence[Tensor], state: Sequence[State]
    ) -> list[Tensor]:
        return [self._across(g, w) for g, w in zip(gradients, weights, strict=True)]

    def _across(self, gradient: Tensor, weight: Tensor) -> Tensor:
        along = (weight * gradient).sum() / (weight.square().sum() + _TINY)
        across = gradient - along * weight
        if not self.rescale:
            return across
        return across * (gradient.norm() / (across.norm() + _TINY))
