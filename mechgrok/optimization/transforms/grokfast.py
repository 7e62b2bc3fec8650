"""Grokfast: amplifies the slowly varying part of the gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from mechgrok.optimization.transforms.base import State, Transform

if TYPE_CHECKING:
    from torch import Tensor

Amplification = Annotated[
    float,
    Field(ge=0, allow_inf_nan=False, description="Amplification λ of Grokfast's average."),
]


class _Grokfast(Transform):
    """g ← g + λ h, with h an average of a weight's past gradients."""

    separable: ClassVar[bool] = True

    def change(
        self, gradients: list[Tensor], weights: Sequence[Tensor], state: Sequence[State]
    ) -> list[Tensor]:
        return [self._amplified(g, own) for g, own in zip(gradients, state, strict=True)]

    def _amplified(self, gradient: Tensor, state: State) -> Tensor:
        raise NotImplementedError


class GrokfastEMA(_Grokfast):
    """g ← g + λ h, with h ← α h + (1 − α) g an exponential moving average of g.

    h is the first gradient at the first step, as in the authors' code.

    Source: Lee et al. 2024 (arXiv 2405.20233), algorithm 2; α = 0.98 and λ = 2 are the authors'
    values for modular multiplication.
    """

    name: str = "grokfast-ema"
    alpha: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.98, description="Decay rate of Grokfast's moving average."
    )
    lamb: Amplification = 2.0

    def _amplified(self, gradient: Tensor, state: State) -> Tensor:
        if "average" not in state:
            state["average"] = gradient.clone()
        average = state["average"].lerp_(gradient, 1 - self.alpha)
        return gradient.add(average, alpha=self.lamb)


class GrokfastMA(_Grokfast):
    """g ← g + λ ḡ, with ḡ the mean of the last w gradients; unchanged for the first w − 1 steps.

    The state, also on disk, holds the gradients of the window: w times the size of the network.

    Source: Lee et al. 2024 (arXiv 2405.20233), algorithm 1; w = 100 and λ = 5 are the authors'
    values for modular multiplication.
    """

    name: str = "grokfast-ma"
    window_size: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=100, description="Number of gradients in Grokfast's moving average."
    )
    lamb: Amplification = 5.0

    @property
    def state_kind(self) -> object:
        return self.name, self.window_size

    def _amplified(self, gradient: Tensor, state: State) -> Tensor:
        if not state:
            state["window"] = gradient.new_zeros(self.window_size, *gradient.shape)
            # In float64, where a million additions and subtractions leave no visible error.
            state["total"] = gradient.new_zeros(gradient.shape).double()
            state["seen"] = gradient.new_zeros(()).long()
        window, total, count = state["window"], state["total"], state["seen"]
        oldest = (count % self.window_size)[None]
        total.sub_(window.index_select(0, oldest)[0]).add_(gradient)
        window.index_copy_(0, oldest, gradient[None])
        count.add_(1)
        factor = (count >= self.window_size) * (self.lamb / self.window_size)
        return gradient + (total * factor).to(gradient.dtype)
