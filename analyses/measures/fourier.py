"""The discrete Fourier transform of signals over the residues modulo p, and its measures."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from mechgrok.interventions.waves import grid_share as grid_share
from mechgrok.interventions.waves import projection as projection
from mechgrok.tasks.harmonics import Harmonics, variance_shares
from mechgrok.tasks.harmonics import fourier_basis as fourier_basis
from mechgrok.tasks.residues import Order as Order
from mechgrok.tasks.residues import cyclic_order as cyclic_order
from mechgrok.tasks.residues import primitive_root as primitive_root


def amplitude_spectrum(
    signal: Float[Tensor, "*rest p"],
) -> Float[Tensor, "*rest frequency"]:
    """|F(ω)| for ω = 0 … ⌊p/2⌋, with F(ω) = Σ_x f(x) exp(−2πi ω x / p) over the last axis.

    Frequencies above p/2 repeat those below for a real signal.

    >>> x = torch.arange(8)
    >>> amplitude_spectrum(1 + torch.cos(2 * torch.pi * 3 * x / 8)).round(decimals=3)
    tensor([8., 0., 0., 4., 0.])
    """
    return torch.fft.rfft(signal, dim=-1).abs()


def power_share(
    amplitude: Float[Tensor, "*rest frequency"], p: int
) -> Float[Tensor, "*rest frequency"]:
    """Share of a signal's variance at each frequency: |F(ω)|² over Σ_{ω>0} |F(ω)|², ω = 0 aside.

    By Parseval's theorem each frequency also counts for its mirror image p − ω; for even p, p/2 is
    its own mirror image. The entry at ω = 0 is 0. A constant signal has no variance: NaN.

    >>> x = torch.arange(7)
    >>> two = torch.cos(2 * torch.pi * x / 7) + 2 * torch.sin(2 * torch.pi * 3 * x / 7)
    >>> power_share(amplitude_spectrum(two), p=7).round(decimals=3)
    tensor([0.0000, 0.2000, 0.0000, 0.8000])
    """
    k = torch.arange(amplitude.shape[-1])
    return variance_shares(amplitude, torch.where((k == 0) | (2 * k == p), 1.0, 2.0))


def dominant_frequency(
    share: Float[Tensor, "*rest frequency"],
) -> Integer[Tensor, " *rest"]:
    """The frequency with the largest share of power.

    >>> dominant_frequency(torch.tensor([[0.0, 0.2, 0.8], [0.0, 0.7, 0.3]]))
    tensor([2, 1])
    """
    return share.nan_to_num(0).argmax(-1)


def joint_amplitude(
    amplitude: Callable[[Tensor], Tensor], signals: Float[Tensor, "path *rest x"]
) -> Float[Tensor, "*rest frequency"]:
    """√Σ |F(ω)|² over the input weights of a neuron, of which a gated neuron has several.

    Args:
        amplitude: computes |F(ω)| of one signal, such as `amplitude_spectrum`.
        signals: one signal for each weight.

    >>> joint_amplitude(torch.abs, torch.tensor([[3.0, 0.0], [-4.0, 1.0]]))
    tensor([5., 1.])
    """
    spectra = [amplitude(signal) for signal in signals]
    return spectra[0] if len(spectra) == 1 else torch.stack(spectra).norm(dim=0)


def live(
    signal: Float[Tensor, "*rest neuron x"], tolerance: float = 0.01
) -> Bool[Tensor, "*rest neuron"]:
    """Whether each neuron's weights are above ``tolerance`` times the largest neuron's L2 norm.

    >>> live(torch.tensor([[3.0, 4.0], [0.01, 0.0], [0.0, 0.0]]))
    tensor([ True, False, False])
    """
    norm = signal.norm(dim=-1)
    return norm > tolerance * norm.amax(-1, keepdim=True)


# --- concentration ------------------------------------------------------------------------------


def spectral_entropy(
    spectrum: Float[Tensor, "*rest frequency"],
) -> Float[Tensor, "*rest"]:
    """H = −Σ_ω q(ω) ln q(ω) with q = spectrum / Σ spectrum, ω = 0 (the first entry) aside, in nats.

    0 for a single wave, ln(number of frequencies) for a flat spectrum; NaN for a zero spectrum.
    Source: Minegishi et al. 2023 (arXiv 2310.19470, version 2), who average it over neurons.

    >>> spectral_entropy(torch.tensor([[5.0, 0.0, 2.0, 0.0], [5.0, 1.0, 1.0, 1.0]]))
    tensor([0.0000, 1.0986])
    """
    q = spectrum[..., 1:] / spectrum[..., 1:].sum(-1, keepdim=True)
    return 0 - torch.special.xlogy(q, q).sum(-1)  # 0, not −0, for a single wave


def softmax_cross_entropy(
    spectrum: Float[Tensor, "*rest frequency"],
) -> Float[Tensor, "*rest"]:
    """H = −Σ_ω q(ω) ln softmax(q)(ω), q as in `spectral_entropy` but over ω = 1 … ⌊n/2⌋ − 1.

    The code of Minegishi et al. 2023 (arXiv 2310.19470) plots this as Fourier entropy: it passes q
    to a cross-entropy that expects logits. With m frequencies a flat spectrum has ln m and a single
    wave ln(e + m − 1) − 1, so for m = 32 all values are between 3.47 and 2.52.

    >>> softmax_cross_entropy(torch.tensor([[5.0, 1.0, 1.0, 9.0], [5.0, 2.0, 0.0, 9.0]]))
    tensor([0.6931, 0.3133])
    """
    q = spectrum[..., 1:-1] / spectrum[..., 1:-1].sum(-1, keepdim=True)
    return -(q * q.log_softmax(-1)).sum(-1)


def gini(values: Float[Tensor, "*rest n"]) -> Float[Tensor, "*rest"]:
    """Gini coefficient of non-negative values: Σ_i Σ_j |x_i − x_j| / (2 n Σ x).

    0 for equal values, (n − 1)/n for a single non-zero value; NaN for zeros. Nanda et al. 2023
    (arXiv 2301.05217) use it over Fourier norms as a measure of sparsity.

    >>> gini(torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 5.0]]))
    tensor([0.0000, 0.7500])
    """
    n = values.shape[-1]
    rank = 2 * torch.arange(1, n + 1, dtype=values.dtype) - n - 1
    return (values.sort(-1).values * rank).sum(-1) / (n * values.sum(-1))


def key_frequencies(
    spectrum: Float[Tensor, " frequency"],
    of_noise: Float[Tensor, " frequency"] | None = None,
    most: int | None = None,
) -> list[int]:
    """The key frequencies, in ascending order: at least twice the mean over ω > 0.

    All analyses use this definition, each for its own spectrum: `embedding` and `fourier` for
    shares of power, `progress` and `algorithm` for |α|, the coefficients of the logits. Of a
    group's representations, which are few, `embedding` takes every one above white noise, and
    `representations` those whose character resembles the logits. The strongest is always included;
    it is the first if all are zero or NaN. Their order does not depend on the spectrum, so that
    analyses that find the same frequencies list them alike.

    Args:
        spectrum: an amplitude, a power or a share for each frequency, ω = 0 first.
        of_noise: the share of each part in white noise, which differs for representations; the
            threshold is then twice that share instead of twice the mean.
        most: keep only this number of the strongest.

    >>> key_frequencies(torch.tensor([9.0, 0.1, 4.0, 0.1, 0.2, 5.0]))
    [2, 5]
    """
    entries = spectrum[1:].nan_to_num(0)
    strongest = (entries.argsort(descending=True, stable=True) + 1).tolist()
    expected = entries.mean() if of_noise is None else entries.sum() * of_noise[1:]
    is_key = (entries >= 2 * expected) & (entries > 0)
    keys = [part for part in strongest if is_key[part - 1]] or strongest[:1]
    return sorted(keys[:most])


# --- one wave -----------------------------------------------------------------------------------


class CosineFit(NamedTuple):
    """offset + amplitude · cos(2π frequency x / n − phase), the best single wave for a signal.

    ``explained`` is the share of the signal's variance in the wave; NaN for a constant signal.

    >>> x = torch.arange(5.0)
    >>> fit = cosine_fit(torch.cos(2 * torch.pi * x / 5))
    >>> torch.allclose(fit.curve(x, n=5), torch.cos(2 * torch.pi * x / 5), atol=1e-6)
    True
    """

    frequency: Integer[Tensor, "*rest"]
    amplitude: Float[Tensor, "*rest"]
    phase: Float[Tensor, "*rest"]
    offset: Float[Tensor, "*rest"]
    explained: Float[Tensor, "*rest"]

    def curve(self, x: Float[Tensor, " m"], n: int) -> Float[Tensor, "*rest m"]:
        """The fitted wave of period n/frequency at the positions ``x``."""
        turns = self.frequency.to(self.phase.dtype)[..., None] * x / n
        angle = 2 * torch.pi * turns - self.phase[..., None]
        return self.offset[..., None] + self.amplitude[..., None] * angle.cos()


def cosine_fit(signal: Float[Tensor, "*rest n"]) -> CosineFit:
    """The least-squares wave at the signal's dominant frequency (any offset, amplitude, phase).

    Waves of different frequencies are orthogonal over the n positions, so the Fourier transform
    gives the fit: amplitude 2|F(k)|/n (|F(k)|/n for k = n/2, which has no sine), phase −arg
    F(k) in (−π, π].

    >>> x = torch.arange(9)
    >>> fit = cosine_fit(2 + 3 * torch.cos(2 * torch.pi * 4 * x / 9 - 1))
    >>> [round(float(value), 3) for value in fit]
    [4.0, 3.0, 1.0, 2.0, 1.0]
    """
    n = signal.shape[-1]
    spectrum = torch.fft.rfft(signal, dim=-1)
    share = power_share(spectrum.abs(), n)
    k = dominant_frequency(share)
    peak = spectrum.gather(-1, k[..., None])[..., 0]
    amplitude = torch.where(2 * k == n, 1, 2) * peak.abs() / n
    explained = share.gather(-1, k[..., None])[..., 0]
    return CosineFit(k, amplitude, -peak.angle(), signal.mean(-1), explained)


# --- two indices --------------------------------------------------------------------------------


def character_components(
    logits: Float[Tensor, "*rest n n"],
    parts: Harmonics,
    weight: Float[Tensor, " n"] | None = None,
) -> Float[Tensor, "*rest part"]:
    """The coefficient of each part's character χ(s c⁻¹) in logits over (right answer s, answer c).

    For waves χ is cos(w_k (s − c)), w_k = 2πk/n, with the coefficients of the trigonometric
    algorithm of Nanda et al. 2023 (arXiv 2301.05217); for a group χ is Re tr ρ(s c⁻¹), s = a·b,
    with those of Chughtai et al. 2023 (arXiv 2302.03025). α = Σ_s v_s Σ_c L(s, c) χ(s c⁻¹) /
    Σ_g χ(g)², with v the ``weight`` of the right answers, normalized to sum 1 (default: equal).
    This is the least-squares fit Σ α χ(s c⁻¹) for any weight, because characters are orthogonal
    over c for each s. Entry 0 is the mean.

    >>> from mechgrok.tasks.harmonics import Waves
    >>> n, s = 7, torch.arange(7)
    >>> logits = 4 * torch.cos(2 * torch.pi * 2 * (s[:, None] - s) / n)
    >>> character_components(logits, Waves(s)).abs().round(decimals=3)
    tensor([0., 0., 4., 0.])
    """
    n = logits.shape[-1]
    weight = torch.ones(n) if weight is None else weight
    weight = weight.to(logits.dtype)
    weighted = (logits * (weight / weight.sum())[:, None]).flatten(-2)
    profile = logits.new_zeros(*logits.shape[:-2], n)
    profile.index_add_(-1, parts.difference.flatten(), weighted)
    characters = parts.characters.to(logits.dtype)
    return profile @ (characters / characters.square().sum(1, keepdim=True)).T
