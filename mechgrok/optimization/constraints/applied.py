"""The constraints of one network, applied step by step."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import nn

from mechgrok.optimization.constraints.base import Constraint, Weights, overrides

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
        self._begin, self._project = self._overridden("begin"), self._overridden("project")
        self._freezing = [c for c in constraints if overrides(c, "frozen")]

    def _overridden(self, method: str) -> list[tuple[Constraint, Callable[[int], None]]]:
        """The constraints that override a method, with the method as a function of the step."""
        calls: list[tuple[Constraint, Callable[[int], None]]] = []
        for constraint, memory in self._constraints:
            if overrides(constraint, method):
                call = partial(getattr(constraint, method), self._weights, memory)
                calls.append((constraint, call))
        return calls

    def begin(self, step: int) -> None:
        """Let constraints store values of the weights before a step."""
        for _, begin in self._begin:
            begin(step)

    def freeze(self, step: int) -> None:
        """Remove the gradients of frozen weights, so that nothing changes these weights."""
        if not self._freezing:
            return
        self._weights.frozen = {
            name
            for constraint in self._freezing
            if constraint.is_active(step)
            for name in constraint.frozen(self._weights)
        }
        for name in self._weights.frozen:
            self._weights.raw[name].grad = None

    def project(self, step: int) -> None:
        """Make the weights satisfy the constraints after a step."""
        for constraint, project in self._project:
            if constraint.is_active(step):
                project(step)
