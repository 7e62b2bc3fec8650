"""Transforms in a row with an optimizer at the end, as an optimizer."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mechgrok.errors import UserError
from mechgrok.optimization.fused import Stepper
from mechgrok.optimization.transforms.base import Kept, Transform, overrides

#: What the names of a transform's state begin with, in ``resume.safetensors``.
STATE = "transforms."


class Chain:
    """What changes the weights where there are transforms: these in turn, and then the optimizer.

    Args:
        optimizer: takes what the last transform leaves.
        transforms: in their order.
        weights: all that the optimizer changes.
        step: that the run has reached, which settles the learning rate.
        steps: that the run has in all.
    """

    def __init__(
        self,
        optimizer: Stepper,
        transforms: Sequence[Transform],
        weights: Iterable[nn.Parameter],
        *,
        step: int = 0,
        steps: int = 1,
    ) -> None:
        self.optimizer, self.weights = optimizer, list(weights)
        self._step, self._steps = step, steps
        self._changing = [
            (transform, f"{STATE}{index}.")
            for index, transform in enumerate(transforms)
            if overrides(transform, "change")
        ]
        self.kept: dict[str, dict[nn.Parameter, Kept]] = {
            prefix: defaultdict(dict) for _, prefix in self._changing
        }
        self._looking = [each for each in transforms if overrides(each, "ahead")]
        self._rating = [each for each in transforms if overrides(each, "rate")]
        groups = _groups_of(optimizer) if self._rating else []
        self._rates = [(group, group["lr"]) for group in groups]
        self._before: list[Tensor] = []

    @property
    def state(self) -> dict[Any, dict[str, Any]]:
        """What the optimizer keeps of each weight."""
        return self.optimizer.state

    @property
    def looks_ahead(self) -> bool:
        """Whether the gradient is taken a second time, elsewhere."""
        return bool(self._looking)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self.optimizer.zero_grad()

    @torch.no_grad()
    def move(self) -> None:
        """Put the weights where the gradient is taken anew."""
        weights, gradients = self._with_gradients()
        self._before = [weight.clone() for weight in weights]
        for transform in self._looking:
            for weight, by in zip(weights, transform.ahead(gradients, weights) or (), strict=True):
                weight.add_(by)

    @torch.no_grad()
    def back(self) -> None:
        """Put the weights back to where they were, to the bit."""
        for weight, before in zip(self._with_gradients()[0], self._before, strict=True):
            weight.copy_(before)
        self._before = []

    @torch.no_grad()
    def step(self) -> None:
        """Change the weights by their gradients, as the transforms leave them."""
        weights, gradients = self._with_gradients()
        for transform, prefix in self._changing:
            kept = self.kept[prefix]
            gradients = transform.change(gradients, weights, [kept[each] for each in weights])
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient
        for group, rate in self._rates:
            for transform in self._rating:
                rate = rate * transform.rate(self._step, self._steps)
            group["lr"] = rate
        self.optimizer.step()
        self._step += 1

    def _with_gradients(self) -> tuple[list[nn.Parameter], list[Tensor]]:
        found = [(weight, weight.grad) for weight in self.weights if weight.grad is not None]
        return [weight for weight, _ in found], [gradient for _, gradient in found]


def _groups_of(optimizer: Stepper) -> list[dict[str, Any]]:
    """The groups of weights that each have a learning rate under ``lr``.

    Raises:
        UserError: the optimizer tells none.
    """
    groups: list[dict[str, Any]] = getattr(optimizer, "param_groups", [])
    if not all("lr" in group for group in groups) or not groups:
        raise UserError(
            f"The optimizer {type(optimizer).__name__} has no param_groups with a learning rate, "
            "lr, as those of torch.optim have, that could be changed: leave the schedule out."
        )
    return groups


def states_of(optimizer: Stepper) -> dict[str, dict[Any, dict[str, Any]]]:
    """All that lasts from step to step, by weight, under what its names begin with on disk."""
    return {"": optimizer.state} | (optimizer.kept if isinstance(optimizer, Chain) else {})


def without_transforms(state: dict[str, Any]) -> dict[str, Any]:
    """An optimizer's state from disk, without what transforms kept."""
    return {
        entry: value
        for entry, value in state.items()
        if not entry.rpartition("/")[2].startswith(STATE)
    }


def take_step(optimizers: Sequence[Stepper], gradient: Callable[[], Tensor]) -> Tensor:
    """One step of optimizers.

    Args:
        optimizers: that change the weights.
        gradient: leaves the gradients in the weights' ``grad`` and gives the loss, or each loss of
            several networks.

    Returns:
        The loss before the step.
    """
    loss = gradient()
    looking = [each for each in optimizers if isinstance(each, Chain) and each.looks_ahead]
    if looking:
        for chain in looking:
            chain.move()
        gradient()
        for chain in looking:
            chain.back()
    for optimizer in optimizers:
        optimizer.step()
    return loss
