"""The scale of the logits, held by the temperature of the softmax."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from mechgrok.errors import UserError
from mechgrok.metrics import scale_of
from mechgrok.optimization.constraints.base import Constraint, Weights

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class Logits(Constraint):
    """The softmax sees logits z / T of a constant scale on the training set.

    T = (scale of z) / ``scale`` is set before every step and has no gradient. The scale is the root
    mean square, each example's mean subtracted (`mechgrok.metrics.scale_of`). The weights are left
    as they are.

    Source: after Khanh 2026 (arXiv 2606.18465), who measures this scale.
    """

    name: str = "logits"
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        description="Scale of the logits that the softmax sees, in nats."
    )

    def check(self, weights: Weights) -> None:
        if reason := weights.task.no_softmax:
            raise UserError(
                f"The constraint logits sets the temperature of a softmax, but {reason}: choose "
                "--objective cross-entropy or another constraint."
            )

    def conflicts(self, other: Constraint) -> bool:
        return isinstance(other, Logits)

    def temperature(self, logits: Float[Tensor, "n answer"]) -> float:
        measured = float(scale_of(logits))
        if measured == 0:
            raise UserError(
                "The logits' scale cannot be held because all logits of an example are equal: "
                "choose other initial weights, or a later step with since."
            )
        return measured / self.scale
