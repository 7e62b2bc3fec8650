"""Edge-popup: search for a subnetwork of fixed weights by training a score for every edge."""

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
    """1 for the ``n_kept`` highest |scores|, else 0; its gradient is that of |scores|."""

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
        """Select the edges of each member separately."""
        members = scores.movedim(in_dims[0] or 0, 0)
        return torch.stack([_TopEdges.apply(member, n_kept) for member in members]), 0


class PopupHook(nn.Module):
    """The parametrization w = θ ⊙ m of edge-popup, where m keeps the edges with the largest scores.

    m_uv = 1 for the (1 − rate) n edges with the largest |s_uv|. The gradient ignores the selection
    (straight-through), so the score of an edge from u to v changes by

        |s_uv| ← |s_uv| − α (∂L/∂I_v) Z_u θ_uv

    with I_v the input of v and Z_u the output of u: a score rises if its edge, present or not,
    would lower the loss.

    Source: Ramanujan et al. 2020 (arXiv 1911.13299), whose code uses |s| too.
    """

    def __init__(self, scores: Float[Tensor, "d_in d_out"], rate: float) -> None:
        super().__init__()
        self.scores = nn.Parameter(scores)
        self.n_kept = scores.numel() - round(rate * scores.numel())
        self.hook_mask = HookPoint()

    def forward(self, weight: Float[Tensor, "d_in d_out"]) -> Float[Tensor, "d_in d_out"]:
        return weight * self.hook_mask(_TopEdges.apply(self.scores, self.n_kept))

    def kept(self) -> Bool[Tensor, "d_in d_out"]:
        """Whether each edge is currently selected."""
        return top_entries(self.scores.abs(), self.n_kept)


def initial_scores(
    weights: Mapping[str, Float[Tensor, "..."]], seed: int
) -> dict[str, Float[Tensor, "..."]]:
    """Kaiming-uniform scores U(−1/√d_in, 1/√d_in), with d_in the input width of the weight.

    This is ``kaiming_uniform_`` with a = √5, as in edge-popup's original code.
    """
    generator = torch.Generator().manual_seed(seed)
    return {
        name: (2 * torch.rand(weight.shape, generator=generator) - 1) / weight.shape[-2] ** 0.5
        for name, weight in weights.items()
    }


@in_neutral_state
def apply_popup(
    model: nn.Module,
    popup: PopupConfig,
    scores: Mapping[str, Float[Tensor, "..."]] | None = None,
) -> None:
    """Mask the model's matrices by trainable scores, which become parameters of the model.

    All weights, biases included, are frozen unless ``popup.train_weights`` is set.

    Args:
        model: any hooked model; an earlier mask is replaced.
        popup: rate, seed of the scores, and whether the weights train too.
        scores: scores by weight; default: fresh scores for every matrix.
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
    """The model's edge-popup scores by weight, if any."""
    return {
        name: hook.scores for name, hook in mask_hooks(model).items() if isinstance(hook, PopupHook)
    }
