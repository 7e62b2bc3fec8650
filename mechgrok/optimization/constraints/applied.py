"""The constraints of one network, applied step by step."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from torch import nn

from mechgrok.optimization.constraints.base import Constraint, Weights

#: Prefix of a constraint's state in ``resume.safetensors``.
MEMORY = "constraints."


class AppliedConstraints:
    """The constraints of one network during training.

    Args:
        constraints: the constraints, in order.
        weights: the network's weights.

    Attributes:
        state: what each constraint stores about each weight, by the constraint's prefix.

    Raises:
        UserError: a constraint does not suit the network.
    """

    def __init__(self, constraints: Sequence[Constraint], weights: Weights) -> None:
        self._weights = weights
        self._constraints: list[tuple[Constraint, dict[str, dict[str, Any]]]] = []
        self.state: dict[str, dict[nn.Parameter, dict[str, Any]]] = {}
        for index, constraint in enumerate(constraints):
            constraint.check(weights)
            memory: dict[str, dict[str, Any]] = {name: {} for name in weights.raw}
            self._constraints.append((constraint, memory))
            by_weight = {weights.raw[name]: entries for name, entries in memory.items()}
            self.state[f"{MEMORY}{index}."] = defaultdict(dict, by_weight)

    def begin(self, step: int) -> None:
        """Let constraints store values of the weights before a step."""
        for constraint, memory in self._constraints:
            constraint.begin(self._weights, memory, step)

    def freeze(self, step: int) -> None:
        """Remove the gradients of frozen weights, so that nothing changes these weights."""
        self._weights.frozen = {
            name
            for constraint, _ in self._constraints
            if constraint.is_active(step)
            for name in constraint.frozen(self._weights)
        }
        for name in self._weights.frozen:
            self._weights.raw[name].grad = None

    def project(self, step: int) -> None:
        """Make the weights satisfy the constraints after a step."""
        for constraint, memory in self._constraints:
            if constraint.is_active(step):
                constraint.project(self._weights, memory, step)
