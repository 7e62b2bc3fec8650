"""Signals over the residues modulo p and their discrete Fourier transform."""

import torch
from jaxtyping import Float, Integer
from torch import Tensor


def amplitude_spectrum(
    signal: Float[Tensor, "*rest p"],
) -> Float[Tensor, "*rest frequency"]:
    """|F(ω)| for ω = 0 … ⌊p/2⌋, with F(ω) = Σ_x f(x) exp(−2πi ω x / p) over the last axis.

    Frequencies above p/2 repeat those below for a real signal.
    """
    return torch.fft.rfft(signal, dim=-1).abs()


def power_share(
    amplitude: Float[Tensor, "*rest frequency"], p: int
) -> Float[Tensor, "*rest frequency"]:
    """Share of a signal's variance at each frequency: |F(ω)|² over Σ_{ω>0} |F(ω)|², ω = 0 aside.

    By Parseval's theorem each frequency stands for itself and its mirror image p − ω; for even p
    the frequency p/2 is its own. The entry at ω = 0 is 0. A constant signal has no variance: NaN.
    """
    power = amplitude.square()
    power[..., 0] = 0
    if p % 2 == 0:
        power[..., -1] /= 2
    return power / power.sum(-1, keepdim=True)


def dominant_frequency(
    share: Float[Tensor, "*rest frequency"],
) -> Integer[Tensor, " *rest"]:
    """The frequency with the largest share of power."""
    return share.nan_to_num(0).argmax(-1)


def live(signal: Float[Tensor, "*rest neuron x"], tolerance: float = 0.01) -> Tensor:
    """Whether each neuron's weights are above ``tolerance`` times the largest neuron's L2 norm."""
    norm = signal.norm(dim=-1)
    return norm > tolerance * norm.amax(-1, keepdim=True)
