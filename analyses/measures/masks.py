"""Magnitude masks of checkpoints, and the edges of their graphs."""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from mechgrok.masks import Mask, Scope
from mechgrok.runs.checkpoint import Checkpoint


def magnitude_mask(
    weights: Mapping[str, Float[Tensor, "..."]], rate: float = 0.6, scope: Scope = "global"
) -> Mask:
    """The mask of the (1 − rate) largest absolute values of the matrices.

    It is the lottery ticket drawn from these weights. Biases are not pruned. Among equal values,
    the mask keeps the first in ``weights``.

    Args:
        weights: by name; zeros of an existing mask are pruned first.
        rate: the pruned share k of the matrices' entries, in [0, 1).
        scope: "global": one threshold for all matrices; "layer": one per matrix.

    Source: Minegishi et al. 2023 (arXiv 2310.19470), section 4.

    Raises:
        UserError: the rate is outside [0, 1), or a weight is not a number.

    >>> import torch
    >>> magnitude_mask({"W": torch.tensor([[3.0, -1.0], [2.0, -4.0]])}, rate=0.5)["W"]
    tensor([[ True, False],
            [False,  True]])
    """
    size = {name: weight.abs() for name, weight in weights.items() if weight.ndim >= 2}
    return Mask.from_scores(size, rate, scope)


def kept_edges(saved: Checkpoint, rate: float = 0.6, scope: Scope = "global") -> Mask:
    """The mask of the edges in a checkpoint's graphs.

    It is the checkpoint's own mask, with all entries of matrices that the mask does not name; for a
    dense checkpoint it is the `magnitude_mask`.

    Raises:
        UserError: the rate is outside [0, 1).

    >>> import mechgrok
    >>> ticket = mechgrok.Run("data/ticket").checkpoint(-1)
    >>> kept_edges(ticket, rate=0.9) == ticket.mask
    True
    >>> round(kept_edges(mechgrok.Run("data/base").checkpoint(-1), rate=0.9).density, 3)
    0.1
    """
    if saved.mask is None:
        return magnitude_mask(saved.weights, rate, scope)
    matrices = {name: weight for name, weight in saved.weights.items() if weight.ndim >= 2}
    return Mask({**Mask.full(matrices), **saved.mask})
