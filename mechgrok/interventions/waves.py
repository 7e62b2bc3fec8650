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


def own_parts(
    grid: Float[Tensor, "n n unit"], parts: Harmonics, together: int = 1
) -> Integer[Tensor, " unit"]:
    """The part that explains most of each unit's variance over (a, b); 0 if it is constant.

    Args:
        grid: the activations of the units.
        parts: the parts.
        together: the number of neighbouring units that share a part, such as the weights of one
            head on all positions.

    >>> from mechgrok.tasks.harmonics import Waves
    >>> a = 2 * torch.pi * torch.arange(5) / 5
    >>> grid = torch.stack([torch.cos(2 * a).expand(5, 5), torch.ones(5, 5)], -1)
    >>> own_parts(grid, Waves(torch.arange(5)))
    tensor([2, 0])
    """
    share = grid_share(grid.movedim(-1, 0).double(), parts).nan_to_num(0)
    if together > 1:
        power = share * grid.double().flatten(0, 1).var(0, correction=0)[:, None]
        share = power.unflatten(0, (-1, together)).sum(1).repeat_interleave(together, 0)
    return share.argmax(-1)


def own_waves(grid: Float[Tensor, "n n neuron"], parts: Harmonics) -> Float[Tensor, "n n neuron"]:
    """Each neuron's projection (`grid_parts`) on its own part (`own_parts`)."""
    own, waves = own_parts(grid, parts), torch.zeros_like(grid)
    for part in own.unique().tolist():
        if part:
            cluster = own == part
            waves[..., cluster] = grid_parts(grid[..., cluster], [parts.basis(part)])
    return waves


def polynomials(
    basis: Float[Tensor, "n m"],
) -> tuple[Float[Tensor, "n function"], Integer[Tensor, " function"]]:
    """Orthonormal polynomials of degree 0, 1 and 2 in given functions, as columns, by degree.

    >>> from mechgrok.tasks.harmonics import Waves
    >>> polynomials(Waves(torch.arange(11)).basis(1))[1].tolist()
    [0, 1, 1, 2, 2]
    """
    n = len(basis)
    basis = basis.double()
    linear = torch.cat([torch.full((n, 1), n**-0.5, dtype=torch.float64), basis], 1)
    squares = torch.einsum("xi,xj->xij", basis, basis).flatten(1)
    squares = squares - linear @ (linear.T @ squares)
    vectors, sigma, _ = torch.linalg.svd(squares, full_matrices=False)
    quadratic = vectors[:, sigma > 1e-9]
    degree = torch.tensor([0] + [1] * basis.shape[1] + [2] * quadratic.shape[1])
    return torch.cat([linear, quadratic], dim=1), degree


def polynomial_fit(
    grid: Float[Tensor, "n n unit"], basis: Float[Tensor, "n m"], degree: int
) -> Float[Tensor, "n n unit"]:
    """The best polynomial of a degree of at most 2 in given functions of a and of b.

    >>> from mechgrok.tasks.harmonics import Waves
    >>> x = 2 * torch.pi * torch.arange(11).double() / 11
    >>> square = ((x.cos()[:, None] + x.cos()) ** 2)[..., None]
    >>> basis = Waves(torch.arange(11)).basis(1)
    >>> [torch.allclose(polynomial_fit(square, basis, degree), square) for degree in (1, 2)]
    [False, True]
    """
    functions, of = polynomials(basis)
    coefficients = torch.einsum("ai,bj,abu->iju", functions, functions, grid.double())
    coefficients[of[:, None] + of > degree] = 0
    return torch.einsum("ai,bj,iju->abu", functions, functions, coefficients)
