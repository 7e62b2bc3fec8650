"""The mask that a checkpoint's magnitudes give, and the edges that its own mask leaves."""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from mechgrok.masks import Mask, Scope
from mechgrok.runs.checkpoint import Checkpoint


def magnitude_mask(
    weights: Mapping[str, Float[Tensor, "..."]], rate: float = 0.6, scope: Scope = "global"
) -> Mask:
    """The mask that keeps the (1 − rate) largest absolute values of the matrices.

    It is the lottery ticket that these weights would be given. Biases are not pruned. Of equal
    values those that come first in ``weights`` are kept.

    Args:
        weights: by name; those that a mask has set to zero already are pruned first.
        rate: the share k of the matrices' entries that is pruned, in [0, 1).
        scope: "global": one threshold for all matrices; "layer": one for each.

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
    """Which entries of a checkpoint's matrices are edges of its graphs.

    A checkpoint with a mask keeps what the mask keeps (all of a matrix that it does not name). A
    dense one has no zeros: its edges are those of its `magnitude_mask`.

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
