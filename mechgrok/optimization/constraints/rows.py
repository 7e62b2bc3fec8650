"""The norms of rows or columns of matrices, bounded."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mechgrok.errors import UserError
from mechgrok.optimization.constraints.base import Constraint, Memory, Weights


class Rows(Constraint):
    """‖w_i‖₂ ≤ max for every row i of a matrix (or every column), by scaling longer ones down.

    Norms are those of effective weights, under a mask.

    Source: max-norm regularization (Srivastava et al. 2014, section 5.1).
    """

    name: str = "rows"
    of: str = Field(description="input, inside, output, all matrices, or weights: W_U.")
    max: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        default=1.0, description="Largest norm of a row."
    )
    along: Literal["row", "column"] = Field(default="row", description="row or column.")

    def check(self, weights: Weights) -> None:
        if not (names := self._matrices(weights)):
            raise UserError(f"{self.of} names no matrix, which rows could be taken of.")
        if not any(weights.raw[name].requires_grad for name in names):
            raise UserError(f"The rows of {self.of} cannot be bounded: no such weight is trained.")

    def project(self, weights: Weights, memory: Memory, step: int) -> None:
        for name in self._matrices(weights):
            if not weights.is_trained(name):
                continue
            raw = weights.raw[name]
            if raw.ndim == 2 and not weights.is_masked(name):
                raw.renorm_(2, 0 if self.along == "row" else 1, self.max)
            else:
                norms = weights[name].norm(dim=-1 if self.along == "row" else -2, keepdim=True)
                weights.scale([name], [(self.max / norms).clamp(max=1).nan_to_num(1.0)])

    def _matrices(self, weights: Weights) -> list[str]:
        names = weights.names(self.of)
        return weights.stored(
            f"matrices of {self.of}", lambda: [n for n in names if weights.raw[n].ndim > 1]
        )
