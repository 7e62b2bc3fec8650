"""Pruning methods: functions from a model to a score per weight entry.

The *highest* scores are always kept (`Mask.from_scores`). All matrices are scored
(`prunable_weights`); biases are not pruned. Entries that the model's mask already prunes score −∞,
so they stay pruned.

A new method is one decorated function: here, with its name in `mechgrok.masks.methods`; in another
package (entry points of the group ``mechgrok.scores``); or in your own file (``file.py:name``). It
may take ``model``, ``task``, ``rate`` and ``scope`` by name; its other parameters are its options.
"""

import copy
import inspect
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mechgrok import user_code
from mechgrok.global_state import in_neutral_state
from mechgrok.masks import Mask, Scope, check_rate, mask_of, prunable_weights
from mechgrok.masks.methods import SCORES, check_options, score
from mechgrok.models import HookedModel
from mechgrok.models.normalization import without_normalization
from mechgrok.tasks import Task

#: A score for every entry, by weight.
Scores = dict[str, Float[Tensor, "..."]]


@in_neutral_state
def prune(
    model: HookedModel,
    task: Task,
    rate: float,
    method: str = "magnitude",
    *,
    scope: Scope = "global",
    **options: Any,
) -> Mask:
    """Compute a pruning mask for a model.

    Args:
        model: the network to prune, trained or at initialization as the method requires.
        task: the task, whose training set some methods use.
        rate: the pruned share of all matrices' entries, in [0, 1).
        method: one of `mechgrok.masks.methods.SCORES`, optionally with options:
            ``"synflow:rounds=50"``.
        scope: "global" as in the paper, or "layer": the rate applies within each matrix.
        options: the method's own options.

    Raises:
        UserError: the method or an option is unknown, or the rate is outside [0, 1).
    """
    check_rate(rate)
    options = SCORES.describe(method) | options
    function = SCORES.load(method := options.pop("name"))
    check_options(method, options)
    common = {"model": model, "task": task, "rate": rate, "scope": scope}
    names = inspect.signature(function).parameters
    arguments = {name: value for name, value in common.items() if name in names}
    with user_code.reraise_as_user_error(method):
        return Mask.from_scores(function(**arguments, **options), rate, scope)


@score(scores="trained")
def magnitude(model: HookedModel) -> Scores:
    """|θ|."""
    return _kept_only(model, {n: w.detach().abs() for n, w in prunable_weights(model).items()})


@score
def random(model: HookedModel, seed: int = 0) -> Scores:
    """Uniform noise, drawn from ``seed``."""
    generator = torch.Generator().manual_seed(seed)
    weights = prunable_weights(model)
    return _kept_only(
        model, {n: torch.rand(w.shape, generator=generator) for n, w in weights.items()}
    )


@score
def snip(model: HookedModel, task: Task) -> Scores:
    """|∂L/∂θ ⊙ θ|: to first order, the change of the training loss if a weight is removed.

    Source: Lee et al. 2019 (arXiv 1810.02340), here on the whole training set.
    """
    weights, gradient = _gradient(model, task)
    return _kept_only(
        model,
        {n: (g * w.detach()).abs() for (n, w), g in zip(weights.items(), gradient, strict=True)},
    )


@score
def grasp(model: HookedModel, task: Task, temperature: float = 200.0) -> Scores:
    """GraSP: θ ⊙ H g, with gradient g and Hessian H of the training loss.

    Wang et al. remove the highest S = −θ ⊙ H g: removing a weight changes the squared norm gᵀg of
    the gradient by 2S, to first order. Here the highest scores are kept, so the score is −S.

    Args:
        model: the network at initialization.
        task: the task, whose full training set gives the loss.
        temperature: divides the outputs before the loss, as in the authors' code.

    Source: Wang et al. 2020 (arXiv 2002.07376), equation 8.
    """
    weights, gradient = _gradient(model, task, temperature, differentiable=True)
    squared_norm = sum((g * g.detach()).sum() for g in gradient)
    assert isinstance(squared_norm, Tensor)
    product = torch.autograd.grad(squared_norm, list(weights.values()), materialize_grads=True)
    return _kept_only(
        model, {n: w.detach() * hg for (n, w), hg in zip(weights.items(), product, strict=True)}
    )


@score
def synflow(model: HookedModel, rate: float, rounds: int = 100, scope: Scope = "global") -> Scores:
    """SynFlow: |∂R/∂|θ| ⊙ θ| with R = 1ᵀ (∏ |θ^[l]|) 1, the flow through a weight; needs no data.

    R is the sum of the outputs for an input of ones, with absolute weights. Round r prunes the
    network to density (1 − rate)^(r/rounds) and rescores it; the result is the last round's scores.
    The grokking-ticket paper uses one round, on the training set instead of ones; 100 rounds are
    the original authors' choice.

    A model that reads only tokens gets all one-hot rows instead of ones, each at every position:
    R = Σ_t Σ_c f_c(t, …, t), with t over the tokens and c over the outputs f
    (`HookedModel.linear_flow`). Activations and gates stay, so R is a sum of products only near 0
    and may fall with a weight; then the score is the size of the change, as in the authors' code.

    In a transformer, attention is made linear (scores without softmax), so every weight is on a
    path from input to output and R is a sum of products. Normalizations are left out for the same
    reason: the flow of a normalized network would not depend on the weights' size.

    Args:
        model: the network at initialization.
        rate: the share to prune in total, which sets the rounds' densities.
        rounds: number of rounds.
        scope: the scope of pruning between rounds.

    Source: Tanaka et al. 2020 (arXiv 2006.05467), algorithm 1.
    """
    remake = without_normalization if model.wiring.normalizations else copy.deepcopy
    network = remake(model)
    weights = prunable_weights(network.double())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
    scores: Scores = {}
    for done in range(rounds):
        flow = network.linear_flow()
        gradient = torch.autograd.grad(flow, list(weights.values()), materialize_grads=True)
        # Weights pruned by the model's mask or in earlier rounds are 0 and must rank last.
        scores = {
            name: torch.where(weight == 0, -torch.inf, (g * weight.detach()).abs())
            for (name, weight), g in zip(weights.items(), gradient, strict=True)
        }
        scores = _kept_only(model, scores)
        mask = Mask.from_scores(scores, 1 - (1 - rate) ** ((done + 1) / rounds), scope)
        with torch.no_grad():
            for name, weight in weights.items():
                weight.mul_(mask[name])
    return scores


def _gradient(
    model: HookedModel, task: Task, temperature: float = 1.0, *, differentiable: bool = False
) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
    """The matrices by name, and the training loss's gradient with respect to each."""
    weights: dict[str, Tensor] = dict(prunable_weights(model))
    inputs, labels = (side.to(next(model.parameters()).device) for side in task.train)
    loss = task.loss(model(model.encode(inputs)) / temperature, labels)
    gradient = torch.autograd.grad(
        loss, list(weights.values()), create_graph=differentiable, materialize_grads=True
    )
    return weights, gradient


def _kept_only(model: HookedModel, scores: Scores) -> Scores:
    """``scores`` with −∞ at entries that the model's mask prunes."""
    mask: Mask | dict[str, Tensor] = mask_of(model) or {}
    return {
        name: score.masked_fill(~mask[name], -torch.inf) if name in mask else score
        for name, score in scores.items()
    }


def is_trainable(model: HookedModel, task: Task) -> bool:
    """Whether the training loss has a gradient at any kept matrix entry."""
    _, gradient = _gradient(model, task)
    return any(bool(g.any()) for g in gradient)
