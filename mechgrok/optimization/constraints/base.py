"""The base class of constraints, and the weights of a network as constraints see them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import Field

from mechgrok.errors import UserError, choices, near
from mechgrok.fields import Settings
from mechgrok.grammar import show_value

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor, nn

    from mechgrok.models import HookedModel
    from mechgrok.models.wiring import Wiring
    from mechgrok.tasks import Task

#: The numbers that a constraint stores about each weight between steps, by the weight's name.
Memory = Mapping[str, dict[str, "Tensor"]]

T = TypeVar("T")

#: Groups of weights that a constraint can act on besides single weights.
ALL, EACH, SIDES = "all", "each", ("input", "inside", "output")


class Weights:
    """The weights of one network during training.

    Args:
        model: the network.
        task: its task.

    Attributes:
        raw: the parameters by name, without masks.
        wiring: the network's wiring.
        task: its task.
        frozen: the names of the weights that constraints keep from being trained now.
    """

    def __init__(self, model: HookedModel, task: Task) -> None:
        from mechgrok.masks.hooks import mask_hooks
        from mechgrok.models import raw_weights

        self.raw: dict[str, nn.Parameter] = raw_weights(model)
        self.wiring: Wiring = model.wiring
        self.task = task
        self._hooks = mask_hooks(model)
        self._stored: dict[str, Any] = {}
        self.frozen: set[str] = set()

    def __getitem__(self, name: str) -> Float[Tensor, ...]:
        """A weight as the network computes with it, under its mask."""
        raw = self.raw[name]
        return self._hooks[name](raw) if name in self._hooks else raw

    def is_trained(self, name: str) -> bool:
        """Whether the weight is trained at this step."""
        return self.raw[name].requires_grad and name not in self.frozen

    def is_masked(self, name: str) -> bool:
        """Whether a mask is on the weight."""
        return name in self._hooks

    def norms(self, names: Sequence[str]) -> Float[Tensor, " weight"]:
        """‖w‖₂ of each of some weights, under their masks, in float64."""
        import torch

        return torch.stack(torch._foreach_norm([self[name] for name in names])).double()

    def scale(self, names: Sequence[str], factor: Float[Tensor, "..."] | float) -> None:
        """Multiply the entries of weights that their masks keep by a factor."""
        for name in names:
            raw = self.raw[name]
            if name in self._hooks:
                raw.copy_(raw.where(~self._hooks[name].kept(), raw * factor))
            else:
                raw.mul_(factor)

    def stored(self, key: str, make: Callable[[], T]) -> T:
        """What ``make`` returns, made once for a network."""
        if key not in self._stored:
            self._stored[key] = make()
        return self._stored[key]

    def names(self, of: str) -> list[str]:
        """`find` with its answers stored."""
        return self.stored(f"of {of}", lambda: self.find(of))

    def find(self, of: str) -> list[str]:
        """The names that ``of`` stands for: all, a side, or names joined with a plus sign.

        Raises:
            UserError: the network has no such weight, or none on that side.
        """
        if of in (ALL, EACH):
            return list(self.raw)
        if of in SIDES:
            names = [name for name, side in self._side.items() if side == of]
            if not names:
                raise UserError(f"The network has no matrix on the side {of}: name a weight.")
            return names
        return [self._full_name(name) for name in of.split("+")]

    def _full_name(self, name: str) -> str:
        fitting = [full for full in self.raw if full == name or full.endswith(f".{name}")]
        if len(fitting) != 1:
            raise UserError(
                f"The network has {'several weights' if fitting else 'no weight'} {name!r}"
                f"{near(name, self.raw)}: choose {choices(fitting or self.raw)}, or all, each, "
                "input, inside or output."
            )
        return fitting[0]

    @cached_property
    def _side(self) -> dict[str, str]:
        """The side of each matrix: before the first layer of neurons, after the last, or between.

        A matrix is on the input side if no neuron comes before it, and on the output side if none
        comes after it.
        """
        connections = self.wiring.connections
        after: dict[str, set[str]] = defaultdict(set)
        for connection in connections.values():
            after[connection.source].add(connection.target)
        neurons = {layer.group for layer in self.wiring.hidden}
        reached = _reachable(neurons, after)
        side = {}
        for name, connection in connections.items():
            if connection.source not in reached:
                side[name] = "input"
            else:
                onward = _reachable({connection.target}, after)
                side[name] = "inside" if onward & neurons else "output"
        return side


def _reachable(start: set[str], after: Mapping[str, set[str]]) -> set[str]:
    """The groups of units that can be reached from some groups, including these."""
    reached: set[str] = set()
    frontier = set(start)
    while frontier:
        reached |= frontier
        frontier = {group for source in frontier for group in after.get(source, ())} - reached
    return reached


class Constraint(Settings):
    """A condition that the weights satisfy after every step.

    A subclass adds its options as fields and overrides `project`, `begin` or `frozen`, and perhaps
    `check`. Constraints are applied after the optimizer's step, in their order; an optimizer's
    moments are left as they are.
    """

    effective_methods = ("project", "begin", "frozen")

    name: str
    since: Annotated[int, Field(ge=0)] = Field(
        default=0, description="First step after which the constraint is applied."
    )
    until: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Step from which it is not applied any more; never unless given."
    )

    def is_active(self, step: int) -> bool:
        """Whether it is applied after step ``step``, counted from 0."""
        return self.since <= step and (self.until is None or step < self.until)

    def check(self, weights: Weights) -> None:
        """Refuse a network for which the constraint makes no sense.

        Raises:
            UserError: it names a weight that the network lacks, or cannot be satisfied.
        """

    def frozen(self, weights: Weights) -> list[str]:
        """The weights that get no gradient and no decay while the constraint is active."""
        return []

    def begin(self, weights: Weights, memory: Memory, step: int) -> None:
        """Called before every step with the weights as they are at ``step``."""

    def project(self, weights: Weights, memory: Memory, step: int) -> None:
        """Change the weights in place so that they satisfy the condition.

        Args:
            weights: of the network, after the optimizer's step.
            memory: what is stored about each weight, saved with the run.
            step: the number of the step that was taken, from 0.
        """

    def __str__(self) -> str:
        """The text that `read_constraints` parses: ``norm:of=all:value=30``."""
        fields: dict[str, Any] = self.model_dump(exclude={"name"}, exclude_defaults=True)
        return ":".join([self.name, *(f"{key}={show_value(v)}" for key, v in fields.items())])
