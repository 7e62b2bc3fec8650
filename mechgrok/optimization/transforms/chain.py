"""An optimizer with transforms before it and constraints after it."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from mechgrok.errors import UserError
from mechgrok.optimization.constraints.applied import AppliedConstraints
from mechgrok.optimization.fused import TorchOptimizer
from mechgrok.optimization.transforms.base import State, Transform, further_arguments, overrides

#: Prefix of a transform's state in ``resume.safetensors``.
STATE = "transforms."


class Chain:
    """Applies transforms of the gradients, the optimizer, and constraints, in turn.

    Args:
        optimizer: takes the gradients of the last transform.
        transforms: the transforms, in order.
        weights: all weights of the optimizer.
        step: the run's current step.
        steps: the run's number of steps.
        seed: the run's seed.
        constraints: the network's constraints, if any.
    """

    def __init__(
        self,
        optimizer: TorchOptimizer,
        transforms: Sequence[Transform],
        weights: Iterable[nn.Parameter],
        *,
        step: int = 0,
        steps: int = 1,
        seed: int = 0,
        constraints: AppliedConstraints | None = None,
    ) -> None:
        self.optimizer, self.weights = optimizer, list(weights)
        self._step, self._steps, self._seed = step, steps, seed
        self._changing = {
            index: (transform, further_arguments(transform))
            for index, transform in enumerate(transforms)
            if overrides(transform, "change")
        }
        self.transform_state: dict[str, dict[nn.Parameter, State]] = {
            f"{STATE}{index}.": defaultdict(dict) for index in self._changing
        }
        self._perturbing = [t for t in transforms if overrides(t, "lookahead")]
        self._scaling = [t for t in transforms if overrides(t, "lr_scale")]
        groups = _groups_of(optimizer) if self._scaling else []
        self._learning_rates = [(group, group["lr"]) for group in groups]
        self._before: list[Tensor] = []
        self._constraints = constraints
        if constraints is not None:
            self.transform_state |= constraints.state

    @property
    def state(self) -> dict[Any, dict[str, Any]]:
        """The optimizer's state, by weight."""
        return self.optimizer.state

    @property
    def looks_ahead(self) -> bool:
        """Whether a step takes a second gradient at shifted weights."""
        return bool(self._perturbing)

    def zero_grad(self) -> None:
        """Clear the gradients."""
        self.optimizer.zero_grad()

    @torch.no_grad()
    def perturb(self) -> None:
        """Shift the weights to where the second gradient is taken."""
        weights, gradients = self._with_gradients()
        self._before = [weight.clone() for weight in weights]
        for transform in self._perturbing:
            shifts = transform.lookahead(gradients, weights) or ()
            for weight, shift in zip(weights, shifts, strict=True):
                weight.add_(shift)

    @torch.no_grad()
    def restore(self) -> None:
        """Restore the weights exactly."""
        for weight, before in zip(self._with_gradients()[0], self._before, strict=True):
            weight.copy_(before)
        self._before = []

    @torch.no_grad()
    def step(self) -> None:
        """Update the weights with their gradients, and apply the constraints."""
        if self._constraints is not None:
            self._constraints.begin(self._step)
            self._constraints.freeze(self._step)
        if self._changing:
            self._change_gradients()
        for group, learning_rate in self._learning_rates:
            for transform in self._scaling:
                learning_rate = learning_rate * transform.lr_scale(self._step, self._steps)
            group["lr"] = learning_rate
        self.optimizer.step()
        if self._constraints is not None:
            self._constraints.project(self._step)
        self._step += 1

    def _change_gradients(self) -> None:
        """Apply the transforms of gradients."""
        weights, gradients = self._with_gradients()
        for index, (transform, further) in self._changing.items():
            state = [self.transform_state[f"{STATE}{index}."][weight] for weight in weights]
            arguments: dict[str, Any] = {}
            if "step" in further:
                arguments["step"] = self._step
            if "generator" in further:
                arguments["generator"] = _generator(self._seed, self._step, index)
            gradients = transform.change(gradients, weights, state, **arguments)
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient

    def _with_gradients(self) -> tuple[list[nn.Parameter], list[Tensor]]:
        if self._constraints is not None:
            self._constraints.freeze(self._step)
        trained = [(weight, weight.grad) for weight in self.weights if weight.grad is not None]
        return [weight for weight, _ in trained], [gradient for _, gradient in trained]


def _generator(*seeds: int) -> torch.Generator:
    """A generator seeded by these numbers, independent of generators with other seeds."""
    (seed,) = np.random.SeedSequence(seeds).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(seed) >> 1)


def _groups_of(optimizer: TorchOptimizer) -> list[dict[str, Any]]:
    """The optimizer's groups of weights, each with a learning rate ``lr``.

    Raises:
        UserError: the optimizer has no such groups.
    """
    groups: list[dict[str, Any]] = getattr(optimizer, "param_groups", [])
    if not all("lr" in group for group in groups) or not groups:
        raise UserError(
            f"The optimizer {type(optimizer).__name__} has no param_groups with a learning rate "
            "lr, as in torch.optim, for a schedule to change: remove the schedule."
        )
    return groups


def states_of(optimizer: TorchOptimizer) -> dict[str, dict[Any, dict[str, Any]]]:
    """All state by weight, under the prefix of its names on disk."""
    return {"": optimizer.state} | getattr(optimizer, "transform_state", {})


def take_step(
    optimizers: Sequence[TorchOptimizer], gradient: Callable[[], Float[Tensor, "*member"]]
) -> Float[Tensor, "*member"]:
    """Take one step with the optimizers.

    Args:
        optimizers: the optimizers of all weights.
        gradient: computes the weights' ``grad`` and returns the loss, or one loss per network.

    Returns:
        The loss before the step.
    """
    loss = gradient()
    chains = [chain for chain in optimizers if isinstance(chain, Chain) and chain.looks_ahead]
    if chains:
        for chain in chains:
            chain.perturb()
        gradient()
        for chain in chains:
            chain.restore()
    for optimizer in optimizers:
        optimizer.step()
    return loss
