"""Edge-popup: a network is found inside fixed weights by training a score for every edge."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformer_lens.hook_points import HookPoint

from mechgrok.global_state import in_neutral_state
from mechgrok.masks import mask_hooks, name_hooks, prunable_weights, put_hook, top_entries
from mechgrok.masks.config import PopupConfig
from mechgrok.models import raw_weights


class _TopEdges(torch.autograd.Function):
    """1 for the ``n_kept`` highest of |scores|, else 0; backwards as if it returned |scores|."""

    @staticmethod
    def forward(scores: Tensor, n_kept: int) -> Tensor:
        # Through bytes: converting booleans directly takes four times as long.
        return top_entries(scores.abs(), n_kept).view(torch.uint8).to(scores.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (scores,) = ctx.saved_tensors
        return grads[0] * scores.sign(), None

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], scores: Tensor, n_kept: int
    ) -> tuple[Tensor, int]:
        """Of scores with a further axis: each along it keeps its own edges."""
        each = scores.movedim(in_dims[0] or 0, 0)
        return torch.stack([_TopEdges.apply(one, n_kept) for one in each]), 0


class PopupHook(nn.Module):
    """The parametrization w = θ ⊙ m, where m keeps the edges whose scores are largest: edge-popup.

    m_uv = 1 for the (1 − rate) n edges with the largest |s_uv|. Backwards the choice is skipped
    (straight-through), so that an edge from u to v gains

        |s_uv| ← |s_uv| − α (∂L/∂I_v) Z_u θ_uv

    with I_v the input of v and Z_u the output of u: an edge's score rises where the edge, present
    or not, would lower the loss.

    Source: Ramanujan et al. 2020 (arXiv 1911.13299), whose code takes |s| too.
    """

    def __init__(self, scores: Float[Tensor, "d_in d_out"], rate: float) -> None:
        super().__init__()
        self.scores = nn.Parameter(scores)
        self.n_kept = scores.numel() - round(rate * scores.numel())
        self.hook_mask = HookPoint()

    def forward(self, weight: Float[Tensor, "d_in d_out"]) -> Float[Tensor, "d_in d_out"]:
        return weight * self.hook_mask(_TopEdges.apply(self.scores, self.n_kept))

    def kept(self) -> Bool[Tensor, "d_in d_out"]:
        """Which edges the scores select now."""
        return top_entries(self.scores.abs(), self.n_kept)


def initial_scores(weights: Mapping[str, Tensor], seed: int) -> dict[str, Float[Tensor, "..."]]:
    """Kaiming-uniform scores U(−1/√d_in, 1/√d_in), d_in the width that the weight reads.

    That is ``kaiming_uniform_`` with a = √5, as edge-popup's authors start them.
    """
    generator = torch.Generator().manual_seed(seed)
    return {
        name: (2 * torch.rand(weight.shape, generator=generator) - 1) / weight.shape[-2] ** 0.5
        for name, weight in weights.items()
    }


@in_neutral_state
def apply_popup(
    model: nn.Module, popup: PopupConfig, scores: Mapping[str, Tensor] | None = None
) -> None:
    """Let scores choose the model's edges; they are parameters of the model from now on.

    Every weight itself, biases included, is frozen unless ``popup.train_weights``.

    Args:
        model: any hooked model; a mask that is on is replaced.
        popup: rate, seed of the scores, and whether the weights are trained too.
        scores: by weight; fresh ones for every matrix unless given.
    """
    if scores is None:
        scores = initial_scores(prunable_weights(model), popup.score_seed)
    raw = raw_weights(model)
    for name, score in scores.items():
        put_hook(model, name, PopupHook(score.to(raw[name].device, copy=True), popup.rate))
    name_hooks(model)
    for weight in raw_weights(model).values():
        weight.requires_grad_(popup.train_weights)


def scores_of(model: nn.Module) -> dict[str, nn.Parameter]:
    """Edge-popup's scores on the model, by weight; none for a model without."""
    return {
        name: hook.scores for name, hook in mask_hooks(model).items() if isinstance(hook, PopupHook)
    }
