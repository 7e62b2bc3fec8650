"""The loss of a step: the task's loss at a temperature, and the penalties of constraints."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from mechgrok.configuration.training import TrainingConfig
from mechgrok.models import HookedModel
from mechgrok.optimization.constraints.base import Constraint, overrides

#: The activations of the hidden layers, in order.
Activations = list[Float[Tensor, "batch *pos neuron"]]


class StepLoss(NamedTuple):
    """What a step minimizes besides the penalties l1 and l2.

    Attributes:
        temperature: divides the logits.
        penalties: the active constraints that add a penalty to the loss.
    """

    temperature: float = 1.0
    penalties: tuple[Constraint, ...] = ()

    def penalty(self, activations: Activations) -> Float[Tensor, ""]:
        """The sum of the penalties."""
        total = activations[0].new_zeros(())
        for constraint in self.penalties:
            total = total + constraint.penalty(activations)
        return total


def loss_at(
    training: TrainingConfig, step: int, logits: Callable[[], Float[Tensor, "n answer"]]
) -> StepLoss:
    """The loss of step ``step``, counted from 0.

    Args:
        training: the training settings.
        step: the step.
        logits: computes the logits of the training set before the step.

    Raises:
        UserError: a constraint cannot be satisfied.
    """
    temperature = training.temperature
    active = [constraint for constraint in training.constraints if constraint.is_active(step)]
    for constraint in active:
        if overrides(constraint, "temperature"):
            with torch.no_grad():
                temperature = constraint.temperature(logits(), step)
    return StepLoss(temperature, tuple(each for each in active if overrides(each, "penalty")))


@contextmanager
def recorded_activations(model: HookedModel) -> Iterator[Activations]:
    """Record the activations of the hidden layers in forward passes within the context."""
    activations: Activations = []

    def record(activation: Tensor, hook: object) -> None:
        activations.append(activation)

    with model.hooks(fwd_hooks=[(layer.hook, record) for layer in model.wiring.hidden]):
        yield activations
