"""Gradient clipping by the norm over all weights of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from mechgrok.optimization.transforms.base import State, Transform

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class Clip(Transform):
    """g ← g min(1, c / ‖g‖), with ‖g‖ over all trained weights of a network.

    Source: Pascanu, Mikolov and Bengio 2013 (arXiv 1211.5063), algorithm 1.
    """

    name: str = "clip"
    max_norm: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        default=1.0, description="Largest norm of the gradient after clip."
    )

    def change(
        self, gradients: list[Tensor], weights: Sequence[Tensor], state: Sequence[State]
    ) -> list[Tensor]:
        scale = (self.max_norm / (common_norm(gradients) + 1e-30)).clamp(max=1)
        return [gradient * scale for gradient in gradients]


def common_norm(gradients: Sequence[Tensor]) -> Float[Tensor, ""]:
    """√Σ g² over all entries of several tensors."""
    import torch

    norms = torch._foreach_norm(list(gradients))  # pyright: ignore[reportPrivateImportUsage]
    return torch.stack(norms).norm()
