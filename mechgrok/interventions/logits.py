"""Logits averaged over the pairs of operands with one right answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from mechgrok.interventions.waves import projection
from mechgrok.tasks.binary import BinaryOperation
from mechgrok.tasks.harmonics import Harmonics


@dataclass(frozen=True)
class Pairs:
    """Pairs of operands with weights, for averages of logits.

    Attributes:
        inputs: tokens of the task's pairs whose answer has a position in the order.
        answer: the position of each pair's right answer.
        weight: the weight of each pair: 2 for an unordered pair a < b, which stands for (b, a) too.
        train: whether the pair is in the training set.
        parts: the harmonics, which define the order of answers.
    """

    inputs: Integer[Tensor, "pair pos"]
    answer: Integer[Tensor, " pair"]
    weight: Float[Tensor, " pair"]
    train: Bool[Tensor, " pair"]
    parts: Harmonics

    @classmethod
    def of(cls, task: BinaryOperation, parts: Harmonics) -> Self:
        """The pairs of a task."""
        inputs, labels = task.examples
        position = place_of(parts.tokens, task.d_output)[labels]
        train = torch.zeros(len(labels), dtype=torch.bool)
        train[task.train_index] = True
        twice = (task.pair[:, 0] != task.pair[:, 1]) & task.mirrored
        # Products with 0 have no position, because 0 is not a power of the primitive root.
        ok = position >= 0
        return cls(inputs[ok], position[ok], 1.0 + twice[ok].double(), train[ok], parts)

    @property
    def order(self) -> Integer[Tensor, " n"]:
        """The ordered answers."""
        return self.parts.tokens

    @property
    def answer_weight(self) -> Float[Tensor, " n"]:
        """The total weight of the pairs with each right answer."""
        return torch.zeros(len(self.order), dtype=torch.float64).index_add_(
            0, self.answer, self.weight
        )

    def mean_by_answer(self, logits: Float[Tensor, "pair c"]) -> Float[Tensor, "s c"]:
        """The mean logits of the pairs with right answer s; 0 without such pairs."""
        total = torch.zeros(len(self.order), logits.shape[1], dtype=torch.float64)
        total.index_add_(0, self.answer, logits * self.weight[:, None])
        return total / self.answer_weight.clamp(min=1)[:, None]

    def waves(self, numbers: Sequence[int]) -> LogitWaves:
        """The projections on the waves of these frequencies or representations."""
        return LogitWaves(*projection(self.parts.functions(numbers), self.answer_weight))


@dataclass(frozen=True)
class LogitWaves:
    """Projections of mean logits on cos(w_k s) and sin(w_k s), with s the right answer.

    For addition these are the projections of Nanda et al. 2023 (arXiv 2301.05217) on
    cos(w_k (a + b)) and sin(w_k (a + b)). For a group, the waves are the entries of ρ(s).

    Attributes:
        with_offset: projection on the constant and the waves.
        alone: projection on the waves.
    """

    with_offset: Float[Tensor, "s s"]
    alone: Float[Tensor, "s s"]

    def restricted(self, mean: Float[Tensor, "s c"]) -> Float[Tensor, "s c"]:
        """The constant and the waves alone, for each right answer."""
        return self.with_offset @ mean

    def excluded(
        self,
        logits: Float[Tensor, "pair c"],
        mean: Float[Tensor, "s c"],
        answer: Integer[Tensor, " pair"],
    ) -> Float[Tensor, "pair c"]:
        """The logits of pairs without the waves at their right answers."""
        return logits - (self.alone @ mean)[answer]


def place_of(order: Integer[Tensor, " n"], size: int) -> Integer[Tensor, " size"]:
    """The position of each token in an order; −1 for tokens outside it.

    >>> place_of(torch.tensor([1, 2, 4, 3]), 6).tolist()
    [-1, 0, 1, 3, 2, -1]
    """
    position = torch.full((size,), -1)
    position[order] = torch.arange(len(order))
    return position
