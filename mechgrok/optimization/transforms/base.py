"""What a gradient transform is: options, and a formula for the gradients that pass through it."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from mechgrok.fields import Settings
from mechgrok.grammar import show_value

if TYPE_CHECKING:
    from torch import Tensor

#: What a transform stores about one weight between steps, by name: empty before the first.
State = dict[str, "Tensor"]

#: What `Transform.change` may take besides, by the names of its parameters.
_FURTHER = {"step", "generator"}
#: Earlier names of methods, which still work.
_RENAMED = {"ahead": "lookahead", "rate": "lr_scale"}


class Transform(Settings):
    """A change to the gradients of every step before the optimizer uses them.

    A subclass adds its options as fields and overrides one of `change`, `lookahead` and `lr_scale`.
    It stores nothing itself: what must last from step to step goes into ``state``, a dictionary for
    every weight, and is saved with the run.

    A `change` that needs them takes ``step: int``, the number of the step from 0, and ``generator:
    torch.Generator``, further parameters by these names. The generator is on the CPU, anew in every
    step and seeded by the run's seed, the step and the transform's place in the chain. So a run
    that draws from it resumes to the byte, and draws the same alone and trained together.
    """

    #: Whether `change` treats each weight by its own gradient and state alone, and stores tensors
    #: beside it. Then one serves many networks that are trained together, unless it takes the step
    #: or the generator, which are those of one network.
    separable: ClassVar[bool] = False

    name: str

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        super().__pydantic_init_subclass__(**options)
        for before, name in _RENAMED.items():
            if callable(method := vars(cls).get(before)):
                what = f"{cls.__name__}.{before} is called {name} now: rename it."
                warnings.warn(what, DeprecationWarning, stacklevel=3)
                setattr(cls, name, method)

    def change(
        self, gradients: list[Tensor], weights: Sequence[Tensor], state: Sequence[State]
    ) -> list[Tensor]:
        """The gradients that are passed on.

        Args:
            gradients: of each weight that is trained, as the transform before this one left them.
            weights: of one network, edge-popup's scores among them; of several networks where
                ``separable``.
            state: what is stored about each weight, to be changed in place. A value has the shape
                of the weight, perhaps behind further dimensions, or is a number.
        """
        return gradients

    def lookahead(self, gradients: list[Tensor], weights: Sequence[Tensor]) -> list[Tensor] | None:
        """How far from each weight the gradient is taken anew; None to take it where they are."""
        return None

    def lr_scale(self, step: int, steps: int) -> float:
        """What the learning rate is multiplied by at ``step`` of ``steps``."""
        return 1.0

    def __str__(self) -> str:
        """As a person writes it: ``grokfast-ema:alpha=0.98:lamb=2``."""
        options = self.model_dump(exclude={"name"})
        return ":".join([self.name, *(f"{key}={show_value(v)}" for key, v in options.items())])


def overrides(transform: Transform, method: str) -> bool:
    """Whether a transform has a ``change``, a ``lookahead`` or an ``lr_scale`` of its own."""
    return getattr(type(transform), method) is not getattr(Transform, method)


def further_arguments(transform: Transform) -> set[str]:
    """Which of ``step`` and ``generator`` the ``change`` of a transform takes."""
    return _FURTHER & inspect.signature(transform.change).parameters.keys()


def is_separable(transform: Transform) -> bool:
    """Whether one transform may serve the weights of many networks."""
    of_one_network = overrides(transform, "lookahead") or overrides(transform, "lr_scale")
    return transform.separable and not of_one_network and not further_arguments(transform)
