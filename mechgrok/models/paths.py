"""Linear paths through a network: products of weights and of the linear parts of normalizations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from operator import matmul
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

#: Before the neurons, between layers of neurons, or after them.
Side = Literal["input", "inside", "output"]
#: Maps a weight's full name to its value; all may share leading dimensions, such as steps.
Weights = Callable[[str], "Float[Tensor, '...']"]


@dataclass(frozen=True)
class LinearPath:
    """The product of a chain of matrices.

    Attributes:
        formula: the chain in the usual notation: "W_E W_in".
        product: computes the product from the weights.
    """

    formula: str
    product: Callable[[Weights], Float[Tensor, "*step row column"]]


@dataclass(frozen=True)
class Normalization:
    """A normalization of a group of units: linear up to a division by each example's scale.

    Attributes:
        name: the name of its module, whose hook points are ``hook_scale`` and ``hook_normalized``.
        group: the group of its units.
        size: the number of units.
        kind: "layer" or "rms".
        learned: whether it has a scale ``<name>.w`` and, if it is a LayerNorm, a bias ``<name>.b``.
        side: "input" if no neurons come before it, "output" if none come after it, else "inside".
    """

    name: str
    group: str
    size: int
    kind: Literal["layer", "rms"]
    learned: bool
    side: Side

    @property
    def weights(self) -> dict[str, float]:
        """The initial value of each weight."""
        initial = {"w": 1.0, "b": 0.0} if self.kind == "layer" else {"w": 1.0}
        return {f"{self.name}.{name}": v for name, v in initial.items()} if self.learned else {}

    def linear(self, weights: Weights, like: Tensor) -> Float[Tensor, "*step unit unit"]:
        """The linear part: (I − 1 1ᵀ / size) diag(w), with I alone before diag(w) for "rms".

        Args:
            weights: the network's weights.
            like: a tensor of the matrix's type and device.
        """
        import torch

        matrix = torch.eye(self.size, dtype=like.dtype, device=like.device)
        if self.kind == "layer":
            matrix = matrix - 1 / self.size
        return matrix * weights(f"{self.name}.w")[..., None, :] if self.learned else matrix


def product(*factors: str | Normalization) -> LinearPath:
    """The path through these weights and normalizations, in order.

    ``product("W_E", "W_in")`` is W_E W_in. The formula uses the last part of each name.
    """
    names = (factor if isinstance(factor, str) else factor.name for factor in factors)
    formula = " ".join(name.rpartition(".")[2] for name in names)
    return LinearPath(formula, partial(_multiply, factors))


def _multiply(factors: Sequence[str | Normalization], weights: Weights) -> Tensor:
    matrices = {factor: weights(factor) for factor in factors if isinstance(factor, str)}
    like = next(iter(matrices.values()))
    return reduce(
        matmul,
        (matrices[f] if isinstance(f, str) else f.linear(weights, like) for f in factors),
    )


def concatenated(paths: Sequence[LinearPath], dim: Literal[-1, -2]) -> LinearPath:
    """Several paths as one; their matrices are concatenated along rows (−2) or columns (−1)."""
    formula = ", ".join(path.formula for path in paths)
    return LinearPath(formula, partial(_concatenate, paths, dim))


def _concatenate(paths: Sequence[LinearPath], dim: int, weights: Weights) -> Tensor:
    import torch

    return torch.cat([path.product(weights) for path in paths], dim)
