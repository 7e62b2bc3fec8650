"""Measures of the addition algorithm (clock or pizza) from logits and gradients."""

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from mechgrok.analyses.measures.fourier import amplitude_spectrum, power_share
from mechgrok.analyses.measures.geometry import principal_components
from mechgrok.models import HookedModel


def distance_irrelevance(
    correct: Float[Tensor, " pair"], distance: Integer[Tensor, " pair"]
) -> float:
    """The independence of the right answer's logit from the operands' distance a − b.

    The standard deviation of the right answer's logit over the pairs of one distance, averaged over
    distances, as a share of that over all pairs: 1 if the distance explains nothing, 0 if it
    explains everything; NaN for constant logits.

    Source: Zhong et al. 2023 (arXiv 2306.17844), section 4.2.

    >>> distance = torch.tensor([0, 0, 1, 1])
    >>> distance_irrelevance(torch.tensor([2.0, 2.0, 5.0, 5.0]), distance)
    0.0
    >>> distance_irrelevance(torch.tensor([2.0, 5.0, 2.0, 5.0]), distance)
    1.0
    """
    correct = correct.double()
    within = [correct[distance == d].std(correction=0) for d in distance.unique()]
    return float(torch.stack(within).mean() / correct.std(correction=0))


def gradient_cosines(
    model: HookedModel, inputs: Integer[Tensor, "n pos"], answers: Integer[Tensor, " n"]
) -> Float[Tensor, " n"]:
    """cos(∂Q_abc/∂E_a, ∂Q_abc/∂E_b), Q_abc the logit of answer c for the operands a and b.

    E_a and E_b are the embeddings without positions. The mean over triples (a, b, c) is the
    gradient symmetricity: 1 for a network that reads only E_a + E_b, such as a pizza.

    Args:
        model: with a hook point ``hook_embed [batch, pos, d_model]``.
        inputs: tokens, starting with a and b.
        answers: c of each input.

    Source: Zhong et al. 2023 (arXiv 2306.17844), section 4.1.

    >>> from mechgrok import RunConfig
    >>> from mechgrok.models import make_model
    >>> config = RunConfig.preset("quick", p=5, train_fraction=0.6)
    >>> model = make_model(config.model, config.task)
    >>> gradient_cosines(model, torch.tensor([[1, 3]]), torch.tensor([4])).round(decimals=3)
    tensor([1.])
    """
    leaves: list[Tensor] = []

    def leaf(embed: Tensor, hook: object) -> Tensor:
        leaves.append(embed.detach().requires_grad_())
        return leaves[-1]

    logits = model.run_with_hooks(inputs, fwd_hooks=[("hook_embed", leaf)])
    (slope,) = torch.autograd.grad(logits.gather(1, answers[:, None]).sum(), leaves)
    return torch.nn.functional.cosine_similarity(slope[:, 0], slope[:, 1], dim=-1)


def circularity(
    points: Float[Tensor, "residue d"], components: int = 4
) -> Float[Tensor, " component"]:
    """The share of variance in one frequency, for each of the first principal components.

    1 for residues on circles in order of k x; near 2/p for random points. The mean is the
    circularity.

    Source: Zhong et al. 2023 (arXiv 2306.17844), appendix, for the first four components.

    >>> angle = 2 * torch.pi * 3 * torch.arange(11).double() / 11
    >>> circularity(torch.stack([angle.cos(), angle.sin()], 1), 2).round(decimals=6)
    tensor([1., 1.], dtype=torch.float64)
    """
    centred = points.double() - points.double().mean(0)
    position, _ = principal_components(centred @ centred.T, components)
    share = power_share(amplitude_spectrum(torch.from_numpy(position).T), len(points))
    return share.amax(-1)


def by_distance(
    logits: Float[Tensor, "pair n"],
    answer: Integer[Tensor, " pair"],
    distance: Integer[Tensor, " pair"],
) -> Float[Tensor, "distance n"]:
    """The mean logit of answer s + u over the pairs of each distance, s the right answer.

    Args:
        logits: of all answers, by position in the residues' order.
        answer: the position s of the right answer.
        distance: the position of a minus that of b, modulo n.

    >>> by_distance(torch.eye(3)[[0, 1]], torch.tensor([0, 1]), torch.tensor([2, 2]))[2]
    tensor([1., 0., 0.], dtype=torch.float64)
    """
    n = logits.shape[1]
    shifted = logits.double().gather(1, (answer[:, None] + torch.arange(n)) % n)
    total = torch.zeros(n, n, dtype=torch.float64).index_add_(0, distance, shifted)
    return total / torch.bincount(distance, minlength=n)[:, None]


def wave_by_distance(
    mean: Float[Tensor, "distance n"],
) -> Float[Tensor, "frequency distance"]:
    """α_k(d): the coefficient of cos(w_k (a + b − c)) in the logits of the pairs of distance d.

    α_k(d) = (2/n) Σ_u L(d, u) cos(w_k u), w_k = 2πk/n (half of it at k = n/2; the mean at k = 0).
    A clock multiplies cosines of w_k a and w_k b, so its α_k is the same for all distances. A pizza
    adds vectors on a circle, whose sum is short if they are opposite: its α_k falls as
    |cos(w_k d / 2)|, to 0.

    Args:
        mean: L, from `by_distance`.

    Source: the logits of clocks and pizzas, Zhong et al. 2023 (arXiv 2306.17844), section 3.

    >>> u = torch.arange(7)
    >>> wave_by_distance(5 * torch.cos(2 * torch.pi * 2 * u / 7).expand(7, 7))[2].round(decimals=3)
    tensor([5., 5., 5., 5., 5., 5., 5.])
    """
    n = mean.shape[-1]
    k = torch.arange(n // 2 + 1)
    waves = torch.where((k == 0) | (2 * k == n), 1, 2) * torch.fft.rfft(mean).real / n
    return waves.T


def pizza_share(wave: Float[Tensor, " distance"], frequency: int) -> float:
    """The relative fall of a frequency's wave at opposite operands.

    With α(d) ≈ u + v |cos(w_k d / 2)| by least squares, 1 − u / (u + v): 0 for a clock, 1 for a
    pizza. NaN if a distance has no pair, or if the fit is 0 at the top.

    >>> d = torch.arange(7).double()
    >>> top = torch.cos(torch.pi * 2 * d / 7).abs()
    >>> [abs(round(pizza_share(wave, 2), 3)) for wave in (3 * top, 3 + 0 * top, 1 + top)]
    [1.0, 0.0, 0.5]
    """
    n = len(wave)
    top = torch.cos(torch.pi * frequency * torch.arange(n, dtype=torch.float64) / n).abs()
    basis = torch.stack([torch.ones_like(top), top], dim=1)
    if not wave.isfinite().all():
        return float("nan")
    bottom, rise = torch.linalg.lstsq(basis, wave.double()[:, None]).solution[:, 0].tolist()
    return rise / (bottom + rise) if bottom + rise else float("nan")
