"""The gradient of a step, in two factors: the model's, and the objective's."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from mechgrok.models import HookedModel, effective_weights
from mechgrok.tasks import Examples, Task

if TYPE_CHECKING:
    from mechgrok.configuration.training import TrainingConfig


def backpropagate(
    model: HookedModel, task: Task, batch: Examples, training: "TrainingConfig"
) -> Tensor:
    """The loss of a batch, penalties included; its gradients are added to the weights' ``grad``.

    By the chain rule ∂L/∂θ is ∂L/∂outputs, which the task knows, pulled back through the network,
    which the model knows. Either may have it by hand, which for a small network takes less than
    autograd's bookkeeping.
    """
    outputs, pull_back = model.vjp(batch.inputs)
    loss, at_outputs = task.loss_and_gradient(outputs, batch.labels)
    pull_back(at_outputs)
    if not (training.l1 or training.l2):
        return loss
    further = penalty(model, penalty_factors(training))
    further.backward()
    return loss + further.detach()


def penalty_factors(training: "TrainingConfig") -> dict[str, float]:
    """What the norms are multiplied by, without those that are 0."""
    factors = {"l1": training.l1, "l2": training.l2}
    return {name: factor for name, factor in factors.items() if factor}


def penalty(model: HookedModel, factors: Mapping[str, float | Tensor]) -> Float[Tensor, ""]:
    """l1 · Σ|w| + l2 · Σw² over all weights, with the factors that are given."""
    weights = list(effective_weights(model).values())
    total = weights[0].new_zeros(())
    if "l1" in factors:
        total = total + factors["l1"] * sum(weight.abs().sum() for weight in weights)
    if "l2" in factors:
        total = total + factors["l2"] * sum(weight.square().sum() for weight in weights)
    return total
