"""Token counts per example, as a sparse matrix with fast products in both directions."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Self

import torch
from jaxtyping import Float, Integer
from torch import Tensor


class TokenCounts:
    """X ``[n, d_vocab]``: the count of each token in each example; supports ``X @ table``.

    A row of X has only as many entries as an example has tokens, so the product sums a few rows of
    the table per example, and its gradient Xᵀ G sums the rows of G per token. The sort for Xᵀ is
    cached, so reuse the object over many steps.

    Networks that train together have stacked counts, which multiply stacked tables.

    Args:
        tokens: the tokens of each example, from 0 to d_vocab − 1.
        d_vocab: number of rows of the tables.
    """

    def __init__(self, tokens: Integer[Tensor, "*member n pos"], d_vocab: int) -> None:
        self.tokens, self.d_vocab = tokens, d_vocab

    @classmethod
    def stack(cls, members: Sequence[Self]) -> Self:
        """Stack the counts of equally many examples: ``[member, n, d_vocab]``."""
        return cls(torch.stack([member.tokens for member in members]), members[0].d_vocab)

    def __len__(self) -> int:
        return self.tokens.shape[-2]

    def __getitem__(self, examples: Integer[Tensor, " subset"] | slice) -> "TokenCounts":
        return TokenCounts(self.tokens[..., examples, :], self.d_vocab)

    def __matmul__(
        self, table: Float[Tensor, "*member d_vocab width"]
    ) -> Float[Tensor, "*member n width"]:
        sum_rows = _SumRows if self.tokens.ndim == 2 else _StackedSumRows
        return sum_rows.apply(table, self, False)

    @cached_property
    def _rows(self) -> Integer[Tensor, " entry"]:
        """The row of each token in the vertically stacked tables."""
        if self.tokens.ndim == 2:
            return self.tokens.flatten()
        first = torch.arange(len(self.tokens), device=self.tokens.device) * self.d_vocab
        return (self.tokens + first[:, None, None]).flatten()

    def quadratic(
        self, form: Float[Tensor, "*member d_vocab d_vocab"]
    ) -> Float[Tensor, "*member n 1"]:
        """x F xᵀ for the counts x of each example."""
        return self._pairs @ form.flatten(-2)[..., None]

    @cached_property
    def _pairs(self) -> "TokenCounts":
        """The counts of all pairs of an example's tokens, as rows of a flattened matrix."""
        pairs = self.tokens[..., :, None] * self.d_vocab + self.tokens[..., None, :]
        return TokenCounts(pairs.flatten(-2), self.d_vocab**2)

    def sums_of_rows(self, table: Float[Tensor, "d_vocab width"]) -> Float[Tensor, "n width"]:
        """X @ table, without autograd."""
        return _sums(table, *self.by_example)

    def sums_of_examples(self, values: Float[Tensor, "n width"]) -> Float[Tensor, "d_vocab width"]:
        """Xᵀ @ values, without autograd."""
        return _sums(values, *self.by_token)

    @cached_property
    def by_example(self) -> tuple[Integer[Tensor, " entry"], Integer[Tensor, " example"]]:
        """The table rows to sum, example by example, and the start of each example's rows."""
        pos = self.tokens.shape[-1]
        starts = torch.arange(0, len(self._rows), pos, device=self.tokens.device)
        return self._rows, starts

    @cached_property
    def by_token(self) -> tuple[Integer[Tensor, " entry"], Integer[Tensor, " token"]]:
        """The examples to sum, token by token, and the start of each token's examples."""
        tables = self.tokens.shape[:-2].numel()
        counts = self._rows.bincount(minlength=tables * self.d_vocab)
        examples = self._rows.argsort(stable=True) // self.tokens.shape[-1]
        return examples, counts.cumsum(0) - counts


def _sums(table: Tensor, rows: Tensor, starts: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(rows, table, starts, mode="sum")


class _SumRows(torch.autograd.Function):
    """X @ table or Xᵀ @ table; each is the gradient of the other."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, counts: TokenCounts, transposed: bool) -> Tensor:
        ctx.counts, ctx.transposed = counts, transposed
        table = table.detach()
        return counts.sums_of_examples(table) if transposed else counts.sums_of_rows(table)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return _SumRows.apply(grads[0], ctx.counts, not ctx.transposed), None, None


class _StackedSumRows(torch.autograd.Function):
    """`_SumRows` for stacked tables, also under ``torch.vmap``.

    It is a separate class because supporting vmap costs a single network 5 % of its step.
    """

    @staticmethod
    def forward(tables: Tensor, counts: TokenCounts, transposed: bool) -> Tensor:
        rows, starts = counts.by_token if transposed else counts.by_example
        sums = _sums(tables.flatten(0, 1), rows, starts)
        return sums.unflatten(0, (len(tables), -1))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, ctx.counts, ctx.transposed = inputs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return _StackedSumRows.apply(grads[0], ctx.counts, not ctx.transposed), None, None

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int, None, None],
        tables: Tensor,
        counts: TokenCounts,
        transposed: bool,
    ) -> tuple[Tensor, int]:
        return _StackedSumRows.apply(tables.movedim(in_dims[0], 0), counts, transposed), 0
