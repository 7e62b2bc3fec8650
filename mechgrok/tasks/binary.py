"""Tasks of one binary operation on a set, whose answers are elements of the same set."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from pydantic import Field

from mechgrok.tasks.base import Task

if TYPE_CHECKING:
    from jaxtyping import Integer
    from torch import Tensor


class BinaryOperation(Task):
    """c = f(a, b): operands and answers are elements of one set, numbered 0 … n − 1.

    A subclass defines `n_answers` (n), `pair`, `answer` and `order_matters`.
    """

    equals: bool = Field(default=False, description="Append an '=' token to each pair.")

    @property
    def n_answers(self) -> int:
        """The number of elements, n."""
        raise NotImplementedError

    @property
    def d_output(self) -> int:
        return self.training_objective.d_output(self.n_answers)

    @cached_property
    def pair(self) -> Integer[Tensor, "n 2"]:
        """The operands (a, b) of every example."""
        raise NotImplementedError

    def answer(self, a: Integer[Tensor, " n"], b: Integer[Tensor, " n"]) -> Integer[Tensor, " n"]:
        """c = f(a, b)."""
        raise NotImplementedError

    @property
    def order_matters(self) -> bool:
        """Whether both (a, b) and (b, a) are examples, with different answers."""
        raise NotImplementedError

    @property
    def mirrored(self) -> bool:
        """Whether an example (a, b) also stands for (b, a), which is not an example."""
        return False

    def tokens(self, pair: Integer[Tensor, "n 2"]) -> Integer[Tensor, "n pos"]:
        """The token sequence of each pair: (a, b), or (a, b, n) with ``equals``."""
        if not self.equals:
            return pair
        import torch

        return torch.cat([pair, pair.new_full((len(pair), 1), self.n_answers)], dim=1)

    @property
    def d_vocab(self) -> int:
        return self.n_answers + self.equals

    @property
    def n_ctx(self) -> int:
        return 2 + self.equals
