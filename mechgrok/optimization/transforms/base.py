"""The base class of gradient transforms."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from mechgrok.fields import Settings
from mechgrok.grammar import show_value

if TYPE_CHECKING:
    from torch import Tensor

#: A transform's state of one weight between steps, by name; empty before the first step.
State = dict[str, "Tensor"]

#: Optional parameters of `Transform.change`.
_FURTHER = {"step", "generator"}
#: Former names of methods, which still work.
_RENAMED = {"ahead": "lookahead", "rate": "lr_scale"}


class Transform(Settings):
    """A change to every step's gradients before the optimizer uses them.

    A subclass adds its options as fields and overrides `change`, `lookahead` or `lr_scale`.
    It must keep its state in ``state``, a dictionary per weight that is saved with the run.

    `change` may take two further parameters: ``step: int``, counted from 0, and ``generator:
    torch.Generator``, on the CPU. The generator is new at every step, seeded by the run's seed, the
    step and the transform's position in the chain, so a run draws the same numbers when it is
    resumed or trained together with others.
    """

    #: Whether `change` treats each weight by its own gradient and state alone, and stores tensors
    #: on its device. Then networks that train together share one transform, unless it takes the
    #: step or the generator, which belong to one network.
    separable: ClassVar[bool] = False
    effective_methods = ("change", "lookahead", "lr_scale")

    name: str

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        super().__pydantic_init_subclass__(**options)
        for before, name in _RENAMED.items():
            if callable(method := vars(cls).get(before)):
                message = f"{cls.__name__}.{before} is now called {name}: rename it."
                warnings.warn(message, DeprecationWarning, stacklevel=3)
                setattr(cls, name, method)

    def change(
        self, gradients: list[Tensor], weights: Sequence[Tensor], state: Sequence[State]
    ) -> list[Tensor]:
        """Transform the gradients.

        Args:
            gradients: the gradient of each trained weight, after earlier transforms.
            weights: the weights of one network, including edge-popup scores; of several networks
                if ``separable``.
            state: the state of each weight, changed in place. A value is a scalar or has the
                weight's shape, optionally with leading dimensions.
        """
        return gradients

    def lookahead(self, gradients: list[Tensor], weights: Sequence[Tensor]) -> list[Tensor] | None:
        """Shifts of the weights at which to recompute the gradient; None to leave it."""
        return None

    def lr_scale(self, step: int, steps: int) -> float:
        """The factor on the learning rate at ``step`` of ``steps``."""
        return 1.0

    @property
    def state_kind(self) -> object:
        """Equal for transforms that can continue with each other's state, in a later phase."""
        return self.name

    def __str__(self) -> str:
        """The transform as text: ``grokfast-ema:alpha=0.98:lamb=2``."""
        options = self.model_dump(exclude={"name"})
        return ":".join([self.name, *(f"{key}={show_value(v)}" for key, v in options.items())])


def overrides(transform: Transform, method: str) -> bool:
    """Whether a transform overrides ``change``, ``lookahead`` or ``lr_scale``."""
    return getattr(type(transform), method) is not getattr(Transform, method)


def further_arguments(transform: Transform) -> set[str]:
    """The parameters among ``step`` and ``generator`` that a transform's ``change`` takes."""
    return _FURTHER & inspect.signature(transform.change).parameters.keys()


def is_separable(transform: Transform) -> bool:
    """Whether networks that train together can share one transform."""
    per_network = overrides(transform, "lookahead") or overrides(transform, "lr_scale")
    return transform.separable and not per_network and not further_arguments(transform)
