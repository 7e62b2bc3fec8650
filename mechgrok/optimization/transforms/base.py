"""What a gradient transform is: options, and a formula for the gradients that pass through it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from mechgrok.fields import Settings
from mechgrok.grammar import show_value

if TYPE_CHECKING:
    from torch import Tensor

#: What is kept of one weight between steps, by name: empty before the first.
Kept = dict[str, "Tensor"]


class Transform(Settings):
    """Something that is done to the gradients of every step before the optimizer sees them.

    A subclass adds its options as fields and overrides one of `change`, `ahead` and `rate`. It
    keeps nothing itself: what must last from step to step goes into ``kept``, a dictionary for
    every weight, and is saved with the run.
    """

    #: Whether `change` treats each weight by its own gradient and what is kept of it alone, and
    #: keeps tensors beside it. Then one serves many networks that are trained together.
    separable: ClassVar[bool] = False

    name: str

    def change(
        self, gradients: list[Tensor], weights: Sequence[Tensor], kept: Sequence[Kept]
    ) -> list[Tensor]:
        """The gradients that are passed on.

        Args:
            gradients: of each weight that is trained, as the transform before this one left them.
            weights: of one network, masks' and edge-popup's scores among them; of several networks
                where ``separable``.
            kept: what is kept of each weight, to be changed in place. A value has the shape of the
                weight, perhaps behind further dimensions, or is a number.
        """
        return gradients

    def ahead(self, gradients: list[Tensor], weights: Sequence[Tensor]) -> list[Tensor] | None:
        """How far from each weight the gradient is taken anew; None to take it where they are."""
        return None

    def rate(self, step: int, steps: int) -> float:
        """What the learning rate is multiplied by at ``step`` of ``steps``."""
        return 1.0

    def __str__(self) -> str:
        """As a person writes it: ``grokfast-ema:alpha=0.98:lamb=2``."""
        options = self.model_dump(exclude={"name"})
        return ":".join([self.name, *(f"{key}={show_value(v)}" for key, v in options.items())])


def overrides(transform: Transform, method: str) -> bool:
    """Whether a transform has a ``change``, an ``ahead`` or a ``rate`` of its own."""
    return getattr(type(transform), method) is not getattr(Transform, method)
