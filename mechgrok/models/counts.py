"""Which tokens each example holds, as a sparse matrix that multiplies quickly both ways."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Self

import torch
from jaxtyping import Float, Integer
from torch import Tensor


class TokenCounts:
    """X ``[n, d_vocab]``: how often each example holds each token; ``X @ table`` as for a tensor.

    X has as few entries in a row as an example has tokens, so that the product adds a few rows of
    the table for each example, and its gradient Xᵀ G adds the rows of G in which a token stands.
    What Xᵀ needs is sorted once and kept, so keep the value over many steps.

    Where networks are trained together, their counts are stacked, and multiply a stack of tables.

    Args:
        tokens: of each example, each from 0 to d_vocab − 1.
        d_vocab: rows of the tables that it multiplies.
    """

    def __init__(self, tokens: Integer[Tensor, "*member n pos"], d_vocab: int) -> None:
        self.tokens, self.d_vocab = tokens, d_vocab

    @classmethod
    def stack(cls, members: Sequence[Self]) -> Self:
        """The counts of several sets of as many examples each, ``[member, n, d_vocab]``."""
        return cls(torch.stack([each.tokens for each in members]), members[0].d_vocab)

    def __len__(self) -> int:
        return self.tokens.shape[-2]

    def __getitem__(self, examples: Integer[Tensor, " chosen"] | slice) -> "TokenCounts":
        return TokenCounts(self.tokens[..., examples, :], self.d_vocab)

    def __matmul__(
        self, table: Float[Tensor, "*member d_vocab width"]
    ) -> Float[Tensor, "*member n width"]:
        sum_rows = _SumRows if self.tokens.ndim == 2 else _SumRowsOfEach
        return sum_rows.apply(table, self, False)

    @cached_property
    def _rows(self) -> Integer[Tensor, " entry"]:
        """The row of each token in the tables, which lie one below another where there are many."""
        if self.tokens.ndim == 2:
            return self.tokens.flatten()
        first = torch.arange(len(self.tokens), device=self.tokens.device) * self.d_vocab
        return (self.tokens + first[:, None, None]).flatten()

    def sums_of_rows(self, table: Float[Tensor, "d_vocab width"]) -> Float[Tensor, "n width"]:
        """X @ table, which autograd does not see."""
        return _sums(table, *self.by_example)

    def sums_of_examples(self, values: Float[Tensor, "n width"]) -> Float[Tensor, "d_vocab width"]:
        """Xᵀ @ values, which autograd does not see."""
        return _sums(values, *self.by_token)

    @cached_property
    def by_example(self) -> tuple[Tensor, Tensor]:
        """The rows of the table that are added, example by example, and where each one's begin."""
        pos = self.tokens.shape[-1]
        starts = torch.arange(0, len(self._rows), pos, device=self.tokens.device)
        return self._rows, starts

    @cached_property
    def by_token(self) -> tuple[Tensor, Tensor]:
        """The examples that hold a token, token by token, and where each one's begin."""
        tables = self.tokens.shape[:-2].numel()
        held = self._rows.bincount(minlength=tables * self.d_vocab)
        examples = self._rows.argsort(stable=True) // self.tokens.shape[-1]
        return examples, held.cumsum(0) - held


def _sums(table: Tensor, rows: Tensor, starts: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(rows, table, starts, mode="sum")


class _SumRows(torch.autograd.Function):
    """X @ table, or Xᵀ @ table, each of which is the gradient of the other."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, counts: TokenCounts, transposed: bool) -> Tensor:
        ctx.counts, ctx.transposed = counts, transposed
        table = table.detach()
        return counts.sums_of_examples(table) if transposed else counts.sums_of_rows(table)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return _SumRows.apply(grads[0], ctx.counts, not ctx.transposed), None, None


class _SumRowsOfEach(torch.autograd.Function):
    """`_SumRows` for each of a stack, also where ``torch.vmap`` has the axis of the tables.

    It is another class because what vmap asks of one costs a lone network a twentieth of its step.
    """

    @staticmethod
    def forward(tables: Tensor, counts: TokenCounts, transposed: bool) -> Tensor:
        rows, starts = counts.by_token if transposed else counts.by_example
        below = tables.flatten(0, 1)
        added = torch.nn.functional.embedding_bag(rows, below, starts, mode="sum")
        return added.unflatten(0, (len(tables), -1))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, ctx.counts, ctx.transposed = inputs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return _SumRowsOfEach.apply(grads[0], ctx.counts, not ctx.transposed), None, None

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int, None, None],
        tables: Tensor,
        counts: TokenCounts,
        transposed: bool,
    ) -> tuple[Tensor, int]:
        return _SumRowsOfEach.apply(tables.movedim(in_dims[0], 0), counts, transposed), 0
