"""Grokfast: the slowly varying part of the gradient, amplified."""

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
    """g ← g + λ h, with h an average of past gradients, for each weight by itself."""

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

    Source: Lee et al. 2024 (arXiv 2405.20233), algorithm 2; α = 0.98 and λ = 2 are what the authors
    take for modular multiplication.
    """

    name: str = "grokfast-ema"
    alpha: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.98, description="Rate at which Grokfast's moving average forgets."
    )
    lamb: Amplification = 2.0

    def _amplified(self, gradient: Tensor, state: State) -> Tensor:
        if "average" not in state:
            state["average"] = gradient.clone()
        average = state["average"].lerp_(gradient, 1 - self.alpha)
        return gradient.add(average, alpha=self.lamb)


class GrokfastMA(_Grokfast):
    """g ← g + λ ḡ, with ḡ the mean of the last w gradients; g as it is until there are w.

    The gradients of the window are stored, w times the size of the network, in the state that a run
    is resumed from too.

    Source: Lee et al. 2024 (arXiv 2405.20233), algorithm 1; w = 100 and λ = 5 are what the authors
    take for modular multiplication.
    """

    name: str = "grokfast-ma"
    window_size: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=100, description="Gradients that Grokfast's moving average is over."
    )
    lamb: Amplification = 5.0

    def _amplified(self, gradient: Tensor, state: State) -> Tensor:
        if not state:
            state["window"] = gradient.new_zeros(self.window_size, *gradient.shape)
            # In float64, in which what was added and taken away a million times leaves no trace.
            state["total"] = gradient.new_zeros(gradient.shape).double()
            state["seen"] = gradient.new_zeros(()).long()
        window, total, seen = state["window"], state["total"], state["seen"]
        at = (seen % self.window_size)[None]
        total.sub_(window.index_select(0, at)[0]).add_(gradient)
        window.index_copy_(0, at, gradient[None])
        seen.add_(1)
        amplified = (seen >= self.window_size) * (self.lamb / self.window_size)
        return gradient + (total * amplified).to(gradient.dtype)
