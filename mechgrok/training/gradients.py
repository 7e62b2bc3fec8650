"""The gradient of a step: the objective's times the model's."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from mechgrok.models import HookedModel, effective_weights
from mechgrok.tasks import Examples, Task
from mechgrok.training.loss import StepLoss, recorded_activations

if TYPE_CHECKING:
    from mechgrok.configuration.training import TrainingConfig


def backpropagate(
    model: HookedModel,
    task: Task,
    batch: Examples,
    training: "TrainingConfig",
    step_loss: StepLoss = StepLoss(),
) -> Tensor:
    """Add the gradients of a batch's loss to the weights' ``grad`` and return the loss.

    The loss includes penalties. By the chain rule, ∂L/∂θ is the task's ∂L/∂outputs pulled back
    through the model. Either may be coded by hand, which is faster than autograd for a small
    network.
    """
    if step_loss.penalties:
        with recorded_activations(model) as activations:
            outputs, pull_back = model.vjp(batch.inputs)
        on_activations = step_loss.penalty(activations)
        on_activations.backward(retain_graph=True)  # pull_back needs the graph, too.
    else:
        outputs, pull_back = model.vjp(batch.inputs)
    loss, at_outputs = task.loss_and_gradient(outputs, batch.labels, step_loss.temperature)
    pull_back(at_outputs)
    if step_loss.penalties:
        loss = loss + on_activations.detach()
    if training.l1 or training.l2:
        further = penalty(model, penalty_factors(training))
        further.backward()
        loss = loss + further.detach()
    return loss


def penalty_factors(training: "TrainingConfig") -> dict[str, float]:
    """The nonzero penalty factors, by norm."""
    factors = {"l1": training.l1, "l2": training.l2}
    return {name: factor for name, factor in factors.items() if factor}


def penalty(model: HookedModel, factors: Mapping[str, float | Tensor]) -> Float[Tensor, ""]:
    """l1 · Σ|w| + l2 · Σw² over all weights, for the given factors."""
    weights = list(effective_weights(model).values())
    total = weights[0].new_zeros(())
    if "l1" in factors:
        total = total + factors["l1"] * sum(weight.abs().sum() for weight in weights)
    if "l2" in factors:
        total = total + factors["l2"] * sum(weight.square().sum() for weight in weights)
    return total
