"""The part of a signal that given functions make up: waves, or entries of representations."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def projection(
    functions: Float[Tensor, "n m"], weight: Float[Tensor, " n"]
) -> tuple[Float[Tensor, "n n"], Float[Tensor, "n n"]]:
    """Least-squares projections on the constant with functions, and on those functions alone.

    Applied to signals over n elements (as columns), the first gives the offset and the sum of the
    functions that fit best, every element counted ``weight`` times; the second gives the same fit
    without its offset. With equal weights, functions that are orthogonal and have the mean 0 are
    fitted each by itself.

    >>> sign = torch.tensor([[1.0], [-1], [1], [-1]]).double()
    >>> with_offset, alone = projection(sign, torch.ones(4))
    >>> signal = torch.tensor([3.0, 1, 5, 1]).double()
    >>> [(each @ signal).round(decimals=6).tolist() for each in (with_offset, alone)]
    [[4.0, 1.0, 4.0, 1.0], [1.5, -1.5, 1.5, -1.5]]
    """
    ones = torch.ones(len(functions), 1, dtype=torch.float64)
    functions = torch.cat([ones, functions], dim=1)
    root = weight.double().sqrt()
    # With weights the functions may depend on one another, up to rounding.
    coefficients = torch.linalg.pinv(root[:, None] * functions, rtol=1e-9) * root
    return functions @ coefficients, functions[:, 1:] @ coefficients[1:]


def grid_parts(
    grid: Float[Tensor, "n n *rest"], bases: Sequence[Float[Tensor, "n m"]]
) -> Float[Tensor, "n n *rest"]:
    """The part of a function of (a, b) that parts of harmonics make up, without its mean.

    Of a frequency k they are the waves of a, those of b and their products: the entries (±k, 0),
    (0, ±k) and (±k, ±k) of the two-dimensional Fourier transform (Nanda et al. 2023, arXiv
    2301.05217). Of a representation ρ they are the entries of ρ(a), those of ρ(b), and their
    products.

    Args:
        grid: the function.
        bases: of each part orthonormal functions of mean 0, as columns.

    >>> from mechgrok.tasks.harmonics import Waves
    >>> a = 2 * torch.pi * torch.arange(5) / 5
    >>> grid = 3 + torch.cos(a)[:, None] * torch.sin(a) + torch.cos(2 * a)
    >>> ones = grid_parts(grid, [Waves(torch.arange(5)).basis(1)])
    >>> torch.allclose(ones, torch.cos(a)[:, None] * torch.sin(a), atol=1e-6)
    True
    """
    n = len(grid)
    of_all = torch.zeros_like(grid)
    constant = torch.full((n, 1), n**-0.5, dtype=grid.dtype)
    for functions in bases:
        basis = torch.cat([constant, functions.to(grid.dtype)], dim=1)
        found = torch.einsum("ai,bj,ab...->ij...", basis, basis, grid)
        found[0, 0] = 0
        of_all += torch.einsum("ai,bj,ij...->ab...", basis, basis, found)
    return of_all
