"""The base class of constraints, and the weights of a network as constraints see them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import Field

from mechgrok.errors import UserError
from mechgrok.fields import Settings, show_named
from mechgrok.optimization.selection import ALL, EACH, select

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor, nn

    from mechgrok.models import HookedModel
    from mechgrok.models.wiring import Wiring
    from mechgrok.tasks import Task

#: The numbers that a constraint stores about each weight between steps, by the weight's name.
Memory = Mapping[str, dict[str, "Tensor"]]

T = TypeVar("T")


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
        self._stored: dict[Hashable, Any] = {}
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

    def norms(self, names: Sequence[str]) -> list[float]:
        """‖w‖₂ of each of some weights, under their masks."""
        import torch

        weights = [self[name] if name in self._hooks else self.raw[name] for name in names]
        return torch.stack(torch._foreach_norm(weights)).tolist() if weights else []

    def scale(self, names: Sequence[str], factors: Sequence[Any]) -> None:
        """Multiply the entries of weights that their masks keep.

        Args:
            names: of the weights.
            factors: of each weight a number, or a tensor that broadcasts to it.
        """
        import torch

        if not self._hooks and names and not isinstance(factors[0], torch.Tensor):
            torch._foreach_mul_([self.raw[name] for name in names], list(factors))
            return
        for name, factor in zip(names, factors, strict=True):
            raw = self.raw[name]
            if name in self._hooks:
                raw.copy_(raw.where(~self._hooks[name].kept(), raw * factor))
            else:
                raw.mul_(factor)

    def stored(self, key: Hashable, make: Callable[[], T]) -> T:
        """What ``make`` returns, made once for a network."""
        if key not in self._stored:
            self._stored[key] = make()
        return self._stored[key]

    def names(self, of: str) -> list[str]:
        """`find` with its answers stored."""
        return self.stored(f"of {of}", lambda: self.find(of))

    def find(self, of: str) -> list[str]:
        """The names that ``of`` stands for (`mechgrok.optimization.selection.select`).

        Raises:
            UserError: the network has no such weight.
        """
        return list(self.raw) if of in (ALL, EACH) else select(of, self.wiring)

    def token_axis(self, name: str) -> int:
        """The axis of a matrix along which tokens or answers lie.

        Raises:
            UserError: it has none.
        """
        units = self.wiring.axes(name) if name in self.wiring.connections else ()
        for axis, unit in enumerate(units):
            if unit in ("token", "input", "output") and self.raw[name].ndim == 2:
                return axis
        raise UserError(f"{name} has no axis of tokens: choose W_E or W_U.")


class Constraint(Settings):
    """A condition that training satisfies: of the weights, the logits or the activations.

    A subclass adds its options as fields and overrides one or several methods: `project` changes
    the weights after the optimizer's step, `frozen` excludes weights from it, `temperature` sets
    the temperature of the softmax before it, and `penalty` adds a term to the loss. Constraints are
    applied in their order; an optimizer's moments are left as they are.
    """

    effective_methods = ("project", "begin", "frozen", "temperature", "penalty")

    name: str
    since: Annotated[int, Field(ge=0)] = Field(
        default=0, description="First step at which the constraint is applied, from 0."
    )
    until: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Step from which it is not applied any more; never unless given."
    )

    def is_active(self, step: int) -> bool:
        """Whether it is applied at step ``step``, counted from 0."""
        return self.since <= step and (self.until is None or step < self.until)

    def check(self, weights: Weights) -> None:
        """Refuse a network for which the constraint makes no sense.

        Raises:
            UserError: it names a weight that the network lacks, or cannot be satisfied.
        """

    def conflicts(self, other: Constraint) -> bool:
        """Whether both constraints cannot be satisfied at one step."""
        return False

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

    def temperature(self, logits: Float[Tensor, "n answer"], step: int) -> float:
        """The temperature that divides the logits in the loss of a step.

        Args:
            logits: the training set's logits before the step.
            step: the number of the step, from 0.
        """
        raise NotImplementedError

    def penalty(
        self, activations: Sequence[Float[Tensor, "batch *pos neuron"]]
    ) -> Float[Tensor, ""]:
        """A term of the loss.

        Args:
            activations: those of each hidden layer for the examples of a step.
        """
        raise NotImplementedError

    def __str__(self) -> str:
        """The text that `read_constraints` parses: ``norm:of=all:value=30``."""
        return show_named(self)


def overrides(constraint: Constraint, method: str) -> bool:
    """Whether a constraint overrides a method, such as ``temperature``."""
    return getattr(type(constraint), method) is not getattr(Constraint, method)
