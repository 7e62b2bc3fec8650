"""The scale of the logits, held by the temperature of the softmax."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import Field, model_validator

from mechgrok.errors import UserError
from mechgrok.metrics import scale_of
from mechgrok.optimization.constraints.base import Constraint, Weights
from mechgrok.optimization.constraints.following import Following

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class Logits(Following):
    """The softmax sees logits z / T of a given scale on the training set.

    T = (scale of z) / ``scale`` is set before every step and has no gradient. The scale is the root
    mean square, each example's mean subtracted (`mechgrok.metrics.scale_of`). With ``like`` it
    follows the metric ``logit_scale`` of another run. The weights are left as they are.

    Source: after Khanh 2026 (arXiv 2606.18465), who measures this scale.
    """

    column: ClassVar[str] = "logit_scale"

    name: str = "logits"
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        default=None,
        exclude_if=lambda scale: scale is None,
        description="Scale of the logits that the softmax sees, in nats.",
    )

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if (self.scale is None) == (self.like is None):
            raise UserError(
                "The constraint logits needs either scale or like: write logits:scale=10."
            )
        return self

    def check(self, weights: Weights) -> None:
        if reason := weights.task.no_softmax:
            raise UserError(
                f"The constraint logits sets the temperature of a softmax, but {reason}: choose "
                "--objective cross-entropy or another constraint."
            )

    def conflicts(self, other: Constraint) -> bool:
        return isinstance(other, Logits)

    def temperature(self, logits: Float[Tensor, "n answer"], step: int) -> float:
        measured = float(scale_of(logits))
        if measured == 0:
            raise UserError(
                "The logits' scale cannot be held because all logits of an example are equal: "
                "choose other initial weights, or a later step with since."
            )
        return measured / (self.scale or self.followed(step))
