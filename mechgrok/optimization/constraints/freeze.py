"""Weights that are not trained for a time."""

from __future__ import annotations

from pydantic import Field

from mechgrok.errors import UserError
from mechgrok.optimization.constraints.base import Constraint, Weights


class Freeze(Constraint):
    """Weights that keep their values: no gradient and no weight decay reach them."""

    name: str = "freeze"
    of: str = Field(description="input, inside, output, or weights: W_E+W_U.")

    def check(self, weights: Weights) -> None:
        names = set(weights.names(self.of))
        trained = {name for name, raw in weights.raw.items() if raw.requires_grad}
        if self.since == 0 and self.until is None and not trained - names:
            raise UserError(f"Freezing {self.of} leaves nothing to train: freeze fewer weights.")

    def frozen(self, weights: Weights) -> list[str]:
        return weights.names(self.of)
