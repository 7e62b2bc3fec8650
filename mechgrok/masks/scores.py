"""Which weights matter? Every pruning method is a function from a model to a score per weight.

Everywhere the *highest* scores are kept, so that `Mask.from_scores` turns any of them into a mask.
Scores are given for all matrices (`prunable_weights`); biases are not pruned. On a model that
carries a mask already, what that mask prunes stays pruned: it scores −∞.

A new method is one decorated function here, with its name in `mechgrok.masks.methods`, in another
package (entry points of the group ``mechgrok.scores``), or in a file of one's own
(``file.py:name``). Of the model, the task, the rate and the scope it takes what it asks for by
name; its other parameters are its options.
"""

import copy
import inspect
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mechgrok.global_state import in_neutral_state
from mechgrok.masks import Mask, Scope, check_rate, mask_of, prunable_weights
from mechgrok.masks.methods import SCORES, check_options, score
from mechgrok.models import HookedModel
from mechgrok.tasks import Task

#: A score for every entry, by weight; the highest are kept.
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
    """The mask that a method gives a model.

    Args:
        model: the network to prune, trained or at initialization as the method needs it.
        task: whose training set some methods look at.
        rate: the share of all matrices' entries that is pruned, in [0, 1).
        method: one of `mechgrok.masks.methods.SCORES`; options may stand behind its name,
            ``"synflow:rounds=50"``.
        scope: "global" as in the paper, or "layer": the rate holds within each matrix.
        options: the method's own.

    Raises:
        UserError: the method or an option is unknown, or the rate is outside [0, 1).
    """
    check_rate(rate)
    options = SCORES.describe(method) | options
    function = SCORES.load(method := options.pop("name"))
    check_options(method, options)
    common = {"model": model, "task": task, "rate": rate, "scope": scope}
    names = inspect.signature(function).parameters
    asked = {name: value for name, value in common.items() if name in names}
    return Mask.from_scores(function(**asked, **options), rate, scope)


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
    """|∂L/∂θ ⊙ θ|: how much the training loss moves as a weight is switched off.

    Source: Lee et al. 2019 (arXiv 1810.02340), here on the whole training set.
    """
    weights, gradient = _gradient(model, task)
    return _kept_only(
        model,
        {n: (g * w.detach()).abs() for (n, w), g in zip(weights.items(), gradient, strict=True)},
    )


@score
def grasp(model: HookedModel, task: Task, temperature: float = 200.0) -> Scores:
    """θ ⊙ H g, with gradient g and Hessian H of the training loss: GraSP.

    Wang et al. define S = −θ ⊙ H g, twice the change (to first order) of the gradient's norm gᵀg
    when a weight is removed, with its sign turned, and remove the highest S. Here, where the
    highest scores are kept, the score is −S.

    Args:
        model: the network at initialization.
        task: its training set gives the loss, all of it.
        temperature: the outputs are divided by it before the loss, as in the authors' code.

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
    """|∂R/∂|θ| ⊙ θ| with R = 1ᵀ (∏ |θ^[l]|) 1: the flow through a weight, no data needed.

    R is the sum of the outputs of the network with absolute weights for an input of ones. It is
    pruned in rounds, to density (1 − rate)^(r/rounds) in round r, and scored anew in each; the
    scores are those of the last round. With one round this is what the grokking-ticket paper does,
    except that its authors feed the training set in place of ones; 100 is its inventors' number.

    A model that reads tokens alone is fed all one-hot rows in place of ones, each at every
    position: R = Σ_t Σ_c f_c(t, …, t), t over the tokens and c over the outputs f
    (`HookedModel.linear_flow`). Its activations and gates stay as they are, so that R is a sum of
    products only near 0, and may fall with a weight; the score is the size of the change then, as
    in the authors' code.

    A transformer's attention is made linear first: the pattern is the scores without softmax, so
    that each weight is on some path from the input to the output and R is still a sum of products.

    Args:
        model: the network at initialization.
        rate: the share that will be pruned in all, which sets the rounds' densities.
        rounds: how often it is scored.
        scope: how the rounds before the last prune.

    Source: Tanaka et al. 2020 (arXiv 2006.05467), algorithm 1.
    """
    network = copy.deepcopy(model).double()
    weights = prunable_weights(network)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
    scores: Scores = {}
    for done in range(rounds):
        flow = network.linear_flow()
        gradient = torch.autograd.grad(flow, list(weights.values()), materialize_grads=True)
        # Weights of a mask that is on, or of earlier rounds, are 0 and must stay last.
        scores = {
            name: torch.where(weight == 0, -torch.inf, (g * weight.detach()).abs())
            for (name, weight), g in zip(weights.items(), gradient, strict=True)
        }
        scores = _kept_only(model, scores)
        kept = Mask.from_scores(scores, 1 - (1 - rate) ** ((done + 1) / rounds), scope)
        with torch.no_grad():
            for name, weight in weights.items():
                weight.mul_(kept[name])
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
    """``scores`` with −∞ wherever the model's own mask prunes."""
    mask: Mask | dict[str, Tensor] = mask_of(model) or {}
    return {
        name: score.masked_fill(~mask[name], -torch.inf) if name in mask else score
        for name, score in scores.items()
    }


def is_trainable(model: HookedModel, task: Task) -> bool:
    """Whether the training loss has a gradient for any matrix entry that the model's mask keeps."""
    _, gradient = _gradient(model, task)
    return any(bool(g.any()) for g in gradient)
