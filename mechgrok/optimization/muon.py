"""Muon: momentum with orthogonalized matrices."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mechgrok.models.wiring import Layout
from mechgrok.optimization.fused import Adam, Fused, Group, Moments

#: Coefficients of p(x) = a x + b x³ + c x⁵, iterated on the singular values: Muon's, steep at 0.
_QUINTIC = (3.4445, -4.7750, 2.0315)


def orthogonalized(
    matrices: Float[Tensor, "n d_in d_out"], iterations: int = 5
) -> Float[Tensor, "n d_in d_out"]:
    """Approximate U Vᵀ of matrices U S Vᵀ: the same singular vectors, singular values near 1.

    Newton–Schulz: X ← a X + b (X Xᵀ) X + c (X Xᵀ)² X, from X / ‖X‖. With these coefficients the
    singular values soon lie in (0.68, 1.13), which is close enough to 1.

    Source: Jordan et al. 2024 (kellerjordan.github.io/posts/muon), who compute it in bfloat16.
    """
    a, b, c = _QUINTIC
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(iterations):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if tall else x


class MuonMatrices(Fused):
    """Muon's update of matrices: singular values √max(1, d_out / d_in) for ``[d_in, d_out]``.

    Args:
        groups: the matrices, with their weight decay.
        layouts: each matrix's layout in memory.
        lr: the learning rate.
        momentum: decay rate of the momentum.
        nesterov: whether to use Nesterov's momentum.
        iterations: number of Newton–Schulz iterations.
    """

    moments = ("momentum_buffer",)

    def __init__(
        self,
        groups: list[Group],
        layouts: Mapping[nn.Parameter, Layout],
        *,
        lr: float,
        momentum: float,
        nesterov: bool,
        iterations: int,
    ) -> None:
        super().__init__(groups, lr=lr)
        self.layouts, self.momentum = layouts, momentum
        self.nesterov, self.iterations = nesterov, iterations

    def _update(
        self, group: Group, parameters: list[Any], gradients: list[Any], states: list[Moments]
    ) -> None:
        by_shape: dict[tuple[int, ...], list[tuple[nn.Parameter, Tensor]]] = {}
        for parameter, gradient, state in zip(parameters, gradients, states, strict=True):
            momentum = state["momentum_buffer"].lerp_(gradient, 1 - self.momentum)
            update = gradient.lerp(momentum, self.momentum) if self.nesterov else momentum
            matrix = self.layouts[parameter].matrix(update)
            by_shape.setdefault(tuple(matrix.shape), []).append((parameter, matrix))
        for (d_in, d_out), same_shape in by_shape.items():
            stacked = torch.stack([matrix for _, matrix in same_shape])
            length = max(1.0, d_out / d_in) ** 0.5
            for (parameter, matrix), update in zip(
                same_shape, orthogonalized(stacked, self.iterations), strict=True
            ):
                update = update * (matrix != 0)  # Pruned entries have no gradient and stay 0.
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(self.layouts[parameter].weight(update), alpha=-group["lr"] * length)


class Muon:
    """Muon for some matrices, AdamW for all other weights.

    Args:
        matrices: the optimizer of the matrices.
        rest: the optimizer of all other weights.
    """

    def __init__(self, matrices: MuonMatrices, rest: Adam) -> None:
        self.parts = (matrices, rest)
        self.param_groups = [*matrices.param_groups, *rest.param_groups]
        # No weight is in both, so one dictionary holds all state.
        self.state = rest.state = matrices.state

    def zero_grad(self) -> None:
        """Clear the gradients."""
        for part in self.parts:
            part.zero_grad()

    def step(self) -> None:
        """Update the weights with their gradients."""
        for part in self.parts:
            part.step()
