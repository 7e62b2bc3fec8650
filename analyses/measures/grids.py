"""Activations over the grid of all pairs (a, b), and their fits by waves of a and b."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from mechgrok.errors import UserError
from mechgrok.interventions import Network
from mechgrok.tasks.binary import BinaryOperation
from mechgrok.tasks.harmonics import Harmonics


def all_pairs(task: BinaryOperation, parts: Harmonics) -> Integer[Tensor, "pair pos"]:
    """The tokens of all pairs (a, b), b running fastest, in the order of the harmonics.

    >>> import mechgrok
    >>> from mechgrok.tasks.harmonics import harmonics
    >>> task = mechgrok.Run("data/base").task
    >>> all_pairs(task, harmonics(task))[:2].tolist()
    [[0, 0], [0, 1]]
    """
    return task.tokens(torch.cartesian_prod(parts.tokens, parts.tokens))


def grid_of(
    network: Network, hook: str, parts: Harmonics, position: int = -1
) -> Float[Tensor, "n n unit"]:
    """The activation at a hook point over all pairs, in float64, with all units on one axis.

    Args:
        network: a network on a binary operation.
        hook: the hook point. Of attention, a unit is the weight of a head on a position.
        parts: the order of a and b.
        position: the position whose activation is taken; of attention, that of the query. Masked
            attention scores count as 0.

    Raises:
        UserError: there is no such hook point or position, or it is that of a mask.

    >>> import mechgrok
    >>> from mechgrok.tasks.harmonics import harmonics
    >>> run = mechgrok.Run("data/base")
    >>> grid_of(Network(run, 30000), "hook_logits", harmonics(run.task)).shape
    torch.Size([67, 67, 67])
    """
    task, n = network.run.task, parts.n
    assert isinstance(task, BinaryOperation)
    if hook.endswith("hook_mask"):
        raise UserError(f"{hook} is a mask, the same for all inputs: choose an activation.")
    value = network.activation(hook, all_pairs(task, parts)).double()
    # Attention has its positions behind the heads.
    axis = 2 if hook.endswith(("hook_pattern", "hook_attn_scores")) else 1
    if value.ndim > 2:
        if not -value.shape[axis] <= position < value.shape[axis]:
            raise UserError(
                f"{hook} has no position {position}: choose from 0 to {value.shape[axis] - 1}."
            )
        value = value.select(axis, position)
    return value.where(value.isfinite(), 0).reshape(n, n, -1)


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
    n = len(grid)
    linear = torch.cat([torch.full((n, 1), n**-0.5, dtype=torch.float64), basis.double()], 1)
    squares = torch.einsum("xi,xj->xij", basis.double(), basis.double()).flatten(1)
    squares = squares - linear @ (linear.T @ squares)
    vectors, sigma, _ = torch.linalg.svd(squares, full_matrices=False)
    quadratic = vectors[:, sigma > 1e-9]
    functions = torch.cat([linear, quadratic], dim=1)
    degree = torch.tensor([0] + [1] * basis.shape[1] + [2] * quadratic.shape[1])
    together = degree[:, None] + degree
    power = torch.einsum("ai,bj,abu->iju", functions, functions, grid.double()).square()
    centred = grid.double() - grid.double().mean((0, 1))
    variance = centred.square().sum((0, 1))
    variance = variance.masked_fill(
        (grid == grid[:1, :1]).all(0).all(0), torch.nan
    )  # a constant's rounding error is no variance
    return torch.stack([power[(together > 0) & (together <= d)].sum(0) / variance for d in degrees])
