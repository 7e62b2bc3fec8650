"""Projections of signals on functions: waves, or entries of representations."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from mechgrok.tasks.harmonics import Harmonics


def projection(
    functions: Float[Tensor, "n m"], weight: Float[Tensor, " n"]
) -> tuple[Float[Tensor, "n n"], Float[Tensor, "n n"]]:
    """Least-squares projections on functions, with and without a constant.

    Applied to signals over n elements (as columns), the first gives the weighted best fit of an
    offset plus the functions; the second gives the same fit without its offset. With equal weights,
    orthogonal functions of mean 0 are fitted independently.

    >>> sign = torch.tensor([[1.0], [-1], [1], [-1]]).double()
    >>> with_offset, alone = projection(sign, torch.ones(4))
    >>> signal = torch.tensor([3.0, 1, 5, 1]).double()
    >>> [(matrix @ signal).round(decimals=6).tolist() for matrix in (with_offset, alone)]
    [[4.0, 1.0, 4.0, 1.0], [1.5, -1.5, 1.5, -1.5]]
    """
    ones = torch.ones(len(functions), 1, dtype=torch.float64)
    functions = torch.cat([ones, functions], dim=1)
    root = weight.double().sqrt()
    # With weights, the functions may be linearly dependent up to rounding.
    coefficients = torch.linalg.pinv(root[:, None] * functions, rtol=1e-9) * root
    return functions @ coefficients, functions[:, 1:] @ coefficients[1:]


def grid_parts(
    grid: Float[Tensor, "n n *rest"], bases: Sequence[Float[Tensor, "n m"]]
) -> Float[Tensor, "n n *rest"]:
    """The projection of a function of (a, b) on parts of its harmonics, without its mean.

    A frequency k stands for the waves of a, those of b and their products: the entries (±k, 0),
    (0, ±k) and (±k, ±k) of the two-dimensional Fourier transform (Nanda et al. 2023, arXiv
    2301.05217). A representation ρ stands for the entries of ρ(a), those of ρ(b), and their
    products.

    Args:
        grid: the function.
        bases: each part's orthonormal functions of mean 0, as columns.

    >>> from mechgrok.tasks.harmonics import Waves
    >>> a = 2 * torch.pi * torch.arange(5) / 5
    >>> grid = 3 + torch.cos(a)[:, None] * torch.sin(a) + torch.cos(2 * a)
    >>> ones = grid_parts(grid, [Waves(torch.arange(5)).basis(1)])
    >>> torch.allclose(ones, torch.cos(a)[:, None] * torch.sin(a), atol=1e-6)
    True
    """
    n = len(grid)
    total = torch.zeros_like(grid)
    constant = torch.full((n, 1), n**-0.5, dtype=grid.dtype)
    for functions in bases:
        basis = torch.cat([constant, functions.to(grid.dtype)], dim=1)
        coefficients = torch.einsum("ai,bj,ab...->ij...", basis, basis, grid)
        coefficients[0, 0] = 0
        total += torch.einsum("ai,bj,ij...->ab...", basis, basis, coefficients)
    return total


def grid_share(grid: Float[Tensor, "*rest n n"], parts: Harmonics) -> Float[Tensor, "*rest part"]:
    """The share of each part in the variance of a function of (a, b).

    A frequency k has eight directions: cos and sin of w_k a, of w_k b and their products, by which
    Nanda et al. 2023 (arXiv 2301.05217) assign neurons to frequencies. A representation ρ of a
    group has the entries of ρ(a), of ρ(b) and their products, which include those of ρ(a b). The
    entry of the constants is 0, and terms that mix two parts belong to none, so the shares sum to
    at most 1. NaN for a constant function.

    >>> from mechgrok.tasks.harmonics import Waves
    >>> a = 2 * torch.pi * torch.arange(5) / 5
    >>> grid_share(torch.cos(a)[:, None] * torch.sin(a), Waves(torch.arange(5))).round(decimals=3)
    tensor([0., 1., 0.])
    """
    power = parts.pair_power(grid)
    power[..., 0, 0] = 0
    of_part = power[..., 0, :] + power[..., :, 0] + power.diagonal(dim1=-2, dim2=-1)
    # A constant function has no variance apart from rounding.
    constant = grid.flatten(-2).amax(-1) == grid.flatten(-2).amin(-1)
    variance = power.sum((-2, -1)).masked_fill(constant, torch.nan)
    return of_part / variance[..., None]


def own_parts(grid: Float[Tensor, "n n neuron"], parts: Harmonics) -> Integer[Tensor, " neuron"]:
    """The part that explains most of each neuron's variance over (a, b); 0 if it is constant.

    >>> from mechgrok.tasks.harmonics import Waves
    >>> a = 2 * torch.pi * torch.arange(5) / 5
    >>> grid = torch.stack([torch.cos(2 * a).expand(5, 5), torch.ones(5, 5)], -1)
    >>> own_parts(grid, Waves(torch.arange(5)))
    tensor([2, 0])
    """
    return grid_share(grid.movedim(-1, 0).double(), parts).nan_to_num(0).argmax(-1)


def own_waves(grid: Float[Tensor, "n n neuron"], parts: Harmonics) -> Float[Tensor, "n n neuron"]:
    """Each neuron's projection (`grid_parts`) on its own part (`own_parts`)."""
    own, waves = own_parts(grid, parts), torch.zeros_like(grid)
    for part in own.unique().tolist():
        if part:
            cluster = own == part
            waves[..., cluster] = grid_parts(grid[..., cluster], [parts.basis(part)])
    return waves
