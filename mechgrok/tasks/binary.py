"""One operation on two tokens, whose answers are the same things as its operands."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from pydantic import Field

from mechgrok.tasks.base import Task

if TYPE_CHECKING:
    from jaxtyping import Integer
    from torch import Tensor


class BinaryOperation(Task):
    """c = f(a, b): operands and answers are the numbers 0 … n − 1 of n things.

    A subclass gives `pair`, `answer`, `d_output` (n) and `order_matters`.
    """

    equals: bool = Field(default=False, description="Append an '=' token to each pair.")

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
        """Whether an example (a, b) stands for (b, a) too, which is none."""
        return False

    def tokens(self, pair: Integer[Tensor, "n 2"]) -> Integer[Tensor, "n pos"]:
        """The token sequence of each pair: (a, b), or (a, b, n) with ``equals``."""
        if not self.equals:
            return pair
        import torch

        return torch.cat([pair, pair.new_full((len(pair), 1), self.d_output)], dim=1)

    @property
    def d_vocab(self) -> int:
        return self.d_output + self.equals

    @property
    def n_ctx(self) -> int:
        return 2 + self.equals
