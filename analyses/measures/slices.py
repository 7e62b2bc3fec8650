"""Lines and planes through weight space, and barriers on lines."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mechgrok.masks import Mask
from mechgrok.models import Wiring

#: The baseline of a barrier (see `barrier`).
Above = Literal["interpolation", "mean"]


def between(a: Mapping[str, Tensor], b: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """The weights on the straight line from a (share 0) to b (share 1).

    >>> between({"w": torch.zeros(2)}, {"w": torch.ones(2)}, 0.25)
    {'w': tensor([0.2500, 0.2500])}
    """
    return {name: torch.lerp(a[name], b[name], share) for name in a}


def barrier(
    losses: Float[np.ndarray, "*any position"], above: Above = "interpolation"
) -> Float[np.ndarray, "*any"]:
    """The height of the loss barrier on a line between two networks.

    Args:
        losses: at evenly spaced points from one end to the other.
        above: "interpolation": max_α L(α) − ((1 − α) L(0) + α L(1)) (Entezari et al. 2022, arXiv
            2110.06296), 0 on a convex slope; "mean": max_α L(α) − (L(0) + L(1)) / 2 (Frankle et
            al. 2020, arXiv 1912.05671), equal to the former for equal ends, and otherwise at least
            half their difference.

    >>> losses = np.array([1.0, 4.0, 0.0])
    >>> float(barrier(losses)), float(barrier(losses, "mean"))
    (3.5, 3.5)
    >>> slope = np.array([2.0, 1.0, 0.0])
    >>> float(barrier(slope)), float(barrier(slope, "mean"))
    (0.0, 1.0)
    """
    share = np.linspace(0, 1, losses.shape[-1])
    start, end = losses[..., :1], losses[..., -1:]
    ground = (start + end) / 2 if above == "mean" else (1 - share) * start + share * end
    return (losses - ground).max(-1)


def random_direction(
    weights: Mapping[str, Tensor], mask: Mask | None, generator: torch.Generator
) -> dict[str, Tensor]:
    """A direction with independent entries of N(0, 1), and 0 for pruned weights.

    Under edge-popup the mask is that of the current scores, which stay fixed.

    >>> mask = Mask({"W": torch.tensor([[True, False]])})
    >>> random_direction({"W": torch.ones(1, 2)}, mask, torch.Generator())["W"].ne(0).tolist()
    [[True, False]]
    """
    direction = {}
    for name, weight in weights.items():
        drawn = torch.randn(weight.shape, generator=generator).to(weight)
        direction[name] = drawn * mask[name].to(drawn) if mask and name in mask else drawn
    return direction


def filter_normalized(
    weights: Mapping[str, Tensor],
    wiring: Wiring,
    generator: torch.Generator,
    mask: Mask | None = None,
) -> dict[str, Tensor]:
    """A random direction inside the mask, with the norm of each filter taken from the weights.

    A filter contains the input weights of one unit: a column of a matrix, per head if there are
    heads. Biases and fully pruned units do not move. Without this normalization, the loss would
    look flat around large weights.

    Source: Li et al. 2018 (arXiv 1712.09913), section 4.

    >>> from mechgrok.models.wiring import chain
    >>> weights = {"W": torch.tensor([[3.0, 1.0], [4.0, 0.0]]), "V": torch.zeros(2, 1)}
    >>> wiring = chain({"W": (2, 2), "V": (2, 1)})
    >>> direction = filter_normalized(weights, wiring, torch.Generator().manual_seed(0))
    >>> direction["W"].norm(dim=0).round(decimals=4).tolist()
    [5.0, 1.0]
    """
    matrices = {name: weight for name, weight in weights.items() if name in wiring.connections}
    direction = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for name, drawn in random_direction(matrices, mask, generator).items():
        # A unit that reads all heads has one filter across them.
        over = (-3, -2) if wiring.connections[name].heads == "rows" else (-2,)
        length = torch.linalg.vector_norm(weights[name], dim=over, keepdim=True)
        drawn_length = torch.linalg.vector_norm(drawn, dim=over, keepdim=True)
        direction[name] = drawn * torch.where(drawn_length > 0, length / drawn_length, 0)
    return direction
