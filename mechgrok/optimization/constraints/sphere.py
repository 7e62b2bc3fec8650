"""Hidden activations near a sphere, by a penalty on the loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from mechgrok.optimization.constraints.base import Constraint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float
    from torch import Tensor

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Sphere(Constraint):
    """The penalty coefficient · Σ_layer ⟨(‖h‖₂ − r)²⟩ over the activations h of each hidden layer.

    The mean is over examples, and over positions in a transformer. Without ``radius``, r is the
    layer's mean ‖h‖₂ at that step, so that the penalty is the variance of the norms.

    Source: arXiv 2606.32000.
    """

    name: str = "sphere"
    coefficient: Positive = Field(default=0.1, description="Factor of the penalty.")
    radius: Positive | None = Field(
        default=None, description="Norm of the activations; default: their mean norm."
    )

    def penalty(self, activations: Sequence[Float[Tensor, "batch *pos neuron"]]) -> Tensor:
        norms = [layer.norm(dim=-1) for layer in activations]
        radii = [layer.mean() if self.radius is None else self.radius for layer in norms]
        squares = (
            (layer - radius).square().mean() for layer, radius in zip(norms, radii, strict=True)
        )
        return self.coefficient * sum(squares)
