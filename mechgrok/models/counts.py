"""Which tokens each example holds, as a sparse matrix that multiplies quickly both ways."""

from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Integer
from torch import Tensor


class TokenCounts:
    """X ``[n, d_vocab]``: how often each example holds each token; ``X @ table`` as for a tensor.

    X has as few entries in a row as an example has tokens, so that the product adds a few rows of
    the table for each example, and its gradient Xᵀ G adds the rows of G in which a token stands.
    What Xᵀ needs is sorted once and kept, so keep the value over many steps.

    Args:
        tokens: of each example, each from 0 to d_vocab − 1.
        d_vocab: rows of the tables that it multiplies.
    """

    def __init__(self, tokens: Integer[Tensor, "n pos"], d_vocab: int) -> None:
        self.tokens, self.d_vocab = tokens, d_vocab

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, examples: Integer[Tensor, " chosen"] | slice) -> "TokenCounts":
        return TokenCounts(self.tokens[examples], self.d_vocab)

    def __matmul__(self, table: Float[Tensor, "d_vocab width"]) -> Float[Tensor, "n width"]:
        return _SumRows.apply(table, self)

    def sums_of_rows(self, table: Float[Tensor, "d_vocab width"]) -> Float[Tensor, "n width"]:
        """X @ table, which autograd does not see."""
        return _sums(table, *self.by_example)

    def sums_of_examples(self, values: Float[Tensor, "n width"]) -> Float[Tensor, "d_vocab width"]:
        """Xᵀ @ values, which autograd does not see."""
        return _sums(values, *self.by_token)

    @cached_property
    def by_example(self) -> tuple[Tensor, Tensor]:
        """The rows of the table that are added, example by example, and where each one's begin."""
        n, pos = self.tokens.shape
        starts = torch.arange(0, n * pos, pos, device=self.tokens.device)
        return self.tokens.flatten(), starts

    @cached_property
    def by_token(self) -> tuple[Tensor, Tensor]:
        """The examples that hold a token, token by token, and where each one's begin."""
        flat = self.tokens.flatten()
        held = flat.bincount(minlength=self.d_vocab)
        examples = flat.argsort(stable=True) // self.tokens.shape[1]
        return examples, held.cumsum(0) - held


def _sums(table: Tensor, rows: Tensor, starts: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(rows, table, starts, mode="sum")


class _SumRows(torch.autograd.Function):
    """X @ table, or Xᵀ @ table, each of which is the gradient of the other."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, counts: TokenCounts, transposed: bool = False) -> Tensor:
        ctx.counts, ctx.transposed = counts, transposed
        table = table.detach()
        return counts.sums_of_examples(table) if transposed else counts.sums_of_rows(table)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return _SumRows.apply(grads[0], ctx.counts, not ctx.transposed), None, None
