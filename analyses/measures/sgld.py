"""Sampling around a network: parallel SGLD chains, their mixing, and λ̂."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mechgrok.denormals import flushed_denormals

#: Computes the loss of each chain, for weights with a leading chain axis.
Losses = Callable[[], Float[Tensor, " chain"]]


@flushed_denormals()
def sgld(
    losses: Losses,
    weights: Sequence[Float[Tensor, "chain ..."]],
    *,
    n_beta: float,
    step_size: float,
    localization: float,
    draws: int,
    burn_in: int,
    generator: torch.Generator,
    moved: Sequence[Bool[Tensor, "..."]] | None = None,
) -> Float[np.ndarray, "chain draw"]:
    """The losses along chains of stochastic gradient Langevin dynamics around their start.

    Each step is w ← w − ε/2 (nβ ∇L_n(w) + γ (w − w*)) + N(0, ε), which samples exp(−nβ L_n(w) −
    γ/2 ‖w − w*‖²) for small ε. All chains step together, in place; they are independent.

    Args:
        losses: each chain's loss at the current weights, on all examples or on a batch.
        weights: the leaves of the losses, starting at w* of each chain.
        n_beta: nβ, the number of examples times the inverse temperature.
        step_size: ε.
        localization: γ.
        draws: losses to record per chain, one per step.
        burn_in: steps before the first draw.
        generator: of the noise.
        moved: the entries of each weight that move, the same in every chain; default: all. The
            others stay at w*, as in the weight-restricted coefficient of Wang et al. 2024 (arXiv
            2410.02984).

    Source: Welling and Teh 2011; with a localizing prior Lau et al. 2023 (arXiv 2308.12108), 4.3.

    >>> w = torch.zeros(2, 3, requires_grad=True)
    >>> chain = sgld(
    ...     lambda: w.square().sum(1), [w], n_beta=100, step_size=1e-3, localization=1, draws=5,
    ...     burn_in=2, generator=torch.Generator().manual_seed(0),
    ... )
    >>> chain.shape, bool((chain > 0).all())
    ((2, 5), True)
    """
    starts = [weight.detach().clone() for weight in weights]
    drawn = torch.empty(len(weights[0]), draws, dtype=torch.float64)
    for step in range(burn_in + draws):
        loss = losses()
        slopes = torch.autograd.grad(loss.sum(), weights, allow_unused=True)
        if step >= burn_in:
            drawn[:, step - burn_in] = loss.detach()
        with torch.no_grad():
            for at, (weight, start, slope) in enumerate(zip(weights, starts, slopes, strict=True)):
                noise = torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
                # The pull comes first: both terms are at w, and the slope is already computed.
                weight.lerp_(start, step_size * localization / 2)
                if slope is not None:
                    weight.sub_(slope, alpha=step_size * n_beta / 2)
                weight.add_(noise, alpha=step_size**0.5)
                if moved is not None:
                    weight.copy_(torch.where(moved[at], weight, start))
    return drawn.numpy()


class Coefficient(NamedTuple):
    """λ̂ at several places, from chains around each.

    Attributes:
        value: nβ (mean loss of the draws − loss at the place), the mean over chains; negative if
            chains reach lower losses than the place.
        error: the Monte Carlo standard error; NaN if a chain diverged.
        rhat: the disagreement of chains (rank-normalized split R̂): 1 if they agree, above 1.01 if
            they have not mixed; NaN for constant chains.
        ess: the effective number of independent draws over all chains.

    >>> Coefficient(np.array([19.0]), np.array([0.4]), np.array([1.02]), np.array([104.0])).value
    array([19.])
    """

    value: Float[np.ndarray, " place"]
    error: Float[np.ndarray, " place"]
    rhat: Float[np.ndarray, " place"]
    ess: Float[np.ndarray, " place"]


def learning_coefficient(
    chains: Float[np.ndarray, "place chain draw"],
    at_place: Float[np.ndarray, " place"],
    n_beta: float,
) -> Coefficient:
    """The local learning coefficient λ̂ = nβ (E[L_n(w)] − L_n(w*)), with error and diagnostics.

    Args:
        chains: the losses of `sgld`.
        at_place: L_n(w*).
        n_beta: nβ of the chains.

    Source: Lau et al. 2023 (arXiv 2308.12108), definition 1; R̂ and effective sample size of Vehtari
    et al. 2021 (arXiv 1903.08008), by arviz-stats.

    >>> chains = 1 + 0.1 * np.random.default_rng(0).standard_normal((1, 4, 500))
    >>> llc = learning_coefficient(chains, np.zeros(1), 100)
    >>> bool(abs(llc.value[0] - 100) < 4 * llc.error[0]), bool(llc.rhat[0] < 1.01)
    (True, True)
    """
    from arviz_stats.base.array import array_stats  # slow to import

    is_valid = np.isfinite(chains).all((1, 2)) & (np.ptp(chains, (1, 2)) > 0)
    value = n_beta * (chains.mean((1, 2)) - at_place)
    error, rhat, ess = (np.full(len(chains), np.nan) for _ in range(3))
    for place in np.flatnonzero(is_valid):
        error[place] = array_stats.mcse(chains[place])
        rhat[place] = array_stats.rhat(chains[place])
        ess[place] = array_stats.ess(chains[place])
    return Coefficient(value, n_beta * error, rhat, ess)
