"""Activations over the grid of all pairs (a, b), and their fits by waves of a and b."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mechgrok.interventions.grids import all_pairs as all_pairs
from mechgrok.interventions.grids import grid_of as grid_of
from mechgrok.interventions.waves import polynomials


def polynomial_shares(
    grid: Float[Tensor, "n n unit"], basis: Float[Tensor, "n m"], degrees: Sequence[int] = (1, 2)
) -> Float[Tensor, "degree unit"]:
    """R² of the best polynomial of each degree in given functions of a and of b.

    With the waves cos(w_k x) and sin(w_k x) of a neuron's frequency, degree 1 spans what a
    pre-activation linear in the embeddings can be, and degree 2 adds what a quadratic activation
    makes of it: cos and sin of 2 w_k a, of 2 w_k b, and the products that contain w_k (a ± b)
    (Nanda et al. 2023, arXiv 2301.05217). NaN for a constant function.

    Args:
        grid: functions of (a, b).
        basis: orthonormal functions of mean 0, as columns.
        degrees: at most 2.

    >>> from mechgrok.tasks.harmonics import Waves
    >>> x = 2 * torch.pi * torch.arange(11).double() / 11
    >>> square = (x.cos()[:, None] + x.cos()) ** 2
    >>> polynomial_shares(square[..., None], Waves(torch.arange(11)).basis(1)).round(decimals=3)
    tensor([[0.],
            [1.]], dtype=torch.float64)
    """
    functions, degree = polynomials(basis)
    together = degree[:, None] + degree
    power = torch.einsum("ai,bj,abu->iju", functions, functions, grid.double()).square()
    centred = grid.double() - grid.double().mean((0, 1))
    variance = centred.square().sum((0, 1))
    variance = variance.masked_fill(
        (grid == grid[:1, :1]).all(0).all(0), torch.nan
    )  # a constant's rounding error is no variance
    return torch.stack([power[(together > 0) & (together <= d)].sum(0) / variance for d in degrees])
