"""Sampling around a network: SGLD chains side by side, whether they have mixed, and λ̂."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mechgrok.denormals import flushed_denormals

#: The loss of each chain, by weights with a leading chain axis.
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
) -> Float[np.ndarray, "chain draw"]:
    """The losses along chains of stochastic gradient Langevin dynamics around where they start.

    Each step is w ← w − ε/2 (nβ ∇L_n(w) + γ (w − w*)) + N(0, ε), which samples exp(−nβ L_n(w) −
    γ/2 ‖w − w*‖²) where ε is small. All chains take a step at once, in place; they never meet.

    Args:
        losses: of each chain at the weights as they are; of all examples, or of some.
        weights: leaves that the losses depend on; w* of each chain.
        n_beta: nβ, the examples times the inverse temperature.
        step_size: ε.
        localization: γ.
        draws: losses that are kept of each chain, one a step.
        burn_in: steps before.
        generator: of the noise.

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
    kept = torch.empty(len(weights[0]), draws, dtype=torch.float64)
    for step in range(burn_in + draws):
        of_each = losses()
        slopes = torch.autograd.grad(of_each.sum(), weights, allow_unused=True)
        if step >= burn_in:
            kept[:, step - burn_in] = of_each.detach()
        with torch.no_grad():
            for weight, start, slope in zip(weights, starts, slopes, strict=True):
                noise = torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
                # The pull first: both are taken at w, and the slope is there already.
                weight.lerp_(start, step_size * localization / 2)
                if slope is not None:
                    weight.sub_(slope, alpha=step_size * n_beta / 2)
                weight.add_(noise, alpha=step_size**0.5)
    return kept.numpy()


class Coefficient(NamedTuple):
    """λ̂ of each of some places, from chains around it.

    Attributes:
        value: nβ (mean loss of the draws − loss at the place), the mean over chains; as it comes
            out, also below 0, where chains found something better than the place.
        error: the Monte Carlo standard error, NaN where a chain has left the numbers.
        rhat: how much chains differ from one another (rank-normalized split R̂); 1 where they say
            the same, above 1.01 where they have not mixed; NaN where they do not move.
        ess: draws that are worth an independent one each, of all chains together.

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
    """The local learning coefficient λ̂ = nβ (E[L_n(w)] − L_n(w*)), with what it is worth.

    Args:
        chains: the losses of `sgld`.
        at_place: L_n(w*).
        n_beta: nβ, as the chains were sampled with.

    Source: Lau et al. 2023 (arXiv 2308.12108), definition 1; R̂ and effective sample size of Vehtari
    et al. 2021 (arXiv 1903.08008), by arviz-stats.

    >>> chains = 1 + 0.1 * np.random.default_rng(0).standard_normal((1, 4, 500))
    >>> found = learning_coefficient(chains, np.zeros(1), 100)
    >>> bool(abs(found.value[0] - 100) < 4 * found.error[0]), bool(found.rhat[0] < 1.01)
    (True, True)
    """
    from arviz_stats.base.array import array_stats  # Only who samples waits for it.

    known = np.isfinite(chains).all((1, 2)) & (np.ptp(chains, (1, 2)) > 0)
    value = n_beta * (chains.mean((1, 2)) - at_place)
    error, rhat, ess = (np.full(len(chains), np.nan) for _ in range(3))
    for place in np.flatnonzero(known):
        error[place] = array_stats.mcse(chains[place])
        rhat[place] = array_stats.rhat(chains[place])
        ess[place] = array_stats.ess(chains[place])
    return Coefficient(value, n_beta * error, rhat, ess)
