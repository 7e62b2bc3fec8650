"""Waves over the residues: the part of a signal that some frequencies make up."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def wave_projection(
    n: int, frequencies: Sequence[int], weight: Float[Tensor, " n"]
) -> tuple[Float[Tensor, "n n"], Float[Tensor, "n n"]]:
    """Least-squares projections on the constant with waves, and on those waves alone.

    Applied to signals over the n residues (as columns), the first gives offset + Σ_k (cos and sin
    of 2π k s / n) fitted over the frequencies k, every residue counted ``weight`` times; the second
    gives the same fit without its offset. With equal weights waves are orthogonal and this keeps
    entries of the Fourier transform.

    >>> with_offset, waves = wave_projection(5, [1], torch.ones(5))
    >>> signal = 7 + torch.cos(2 * torch.pi * torch.arange(5) / 5).double()
    >>> torch.allclose(with_offset @ signal, signal), torch.allclose(waves @ signal, signal - 7)
    (True, True)
    """
    s = torch.arange(n, dtype=torch.float64)
    angle = 2 * torch.pi * torch.tensor(list(frequencies), dtype=torch.float64) * s[:, None] / n
    waves = torch.cat([torch.ones(n, 1, dtype=torch.float64), angle.cos(), angle.sin()], dim=1)
    root = weight.double().sqrt()
    # The cut-off drops the sine at k = n/2, which is zero up to rounding.
    coefficients = torch.linalg.pinv(root[:, None] * waves, rtol=1e-9) * root
    return waves @ coefficients, waves[:, 1:] @ coefficients[1:]


def grid_waves(
    grid: Float[Tensor, "n n *rest"], frequencies: Sequence[int]
) -> Float[Tensor, "n n *rest"]:
    """The part of a function of (a, b) that waves of these frequencies make up, without its mean.

    They are the waves of a, those of b and their products at each frequency k: the entries (±k, 0),
    (0, ±k) and (±k, ±k) of the two-dimensional Fourier transform (Nanda et al. 2023, arXiv
    2301.05217).

    >>> a = 2 * torch.pi * torch.arange(5) / 5
    >>> grid = 3 + torch.cos(a)[:, None] * torch.sin(a) + torch.cos(2 * a)
    >>> ones = grid_waves(grid, [1])
    >>> torch.allclose(ones, torch.cos(a)[:, None] * torch.sin(a), atol=1e-6)
    True
    """
    n = len(grid)
    turn = 2 * torch.pi * torch.arange(n, dtype=grid.dtype) / n
    waves = torch.zeros_like(grid)
    for k in frequencies:
        each = [torch.ones_like(turn), (k * turn).cos(), (k * turn).sin()]
        if 2 * k == n:
            each.pop()  # the sine is zero everywhere
        basis = torch.stack([wave / wave.norm() for wave in each])
        found = torch.einsum("ia,jb,ab...->ij...", basis, basis, grid)
        found[0, 0] = 0
        waves += torch.einsum("ia,jb,ij...->ab...", basis, basis, found)
    return waves
