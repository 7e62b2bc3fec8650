"""Logits over all pairs of operands, averaged over the pairs with one right answer."""

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
    """The pairs that logits are averaged over, and how often each counts.

    Attributes:
        inputs: tokens of every pair of the task whose answer has a place in the order.
        answer: the place of each pair's right answer in that order.
        weight: how often a pair counts: a < b of unordered pairs stands for (b, a) too.
        train: whether the pair is trained on.
        parts: what functions of the answer fall into; it knows the answers' order.
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
        place = place_of(parts.tokens, task.d_output)[labels]
        train = torch.zeros(len(labels), dtype=torch.bool)
        train[task.train_index] = True
        twice = (task.pair[:, 0] != task.pair[:, 1]) & task.mirrored
        # Products with 0 are 0, which is no power of a root: they have no place.
        kept = place >= 0
        return cls(inputs[kept], place[kept], 1.0 + twice[kept].double(), train[kept], parts)

    @property
    def order(self) -> Integer[Tensor, " n"]:
        """The answers in their order."""
        return self.parts.tokens

    @property
    def answer_weight(self) -> Float[Tensor, " n"]:
        """How often each answer is the right one."""
        return torch.zeros(len(self.order), dtype=torch.float64).index_add_(
            0, self.answer, self.weight
        )

    def mean_by_answer(self, logits: Float[Tensor, "pair c"]) -> Float[Tensor, "s c"]:
        """The mean logits of the pairs with right answer s; 0 where no pair has it."""
        total = torch.zeros(len(self.order), logits.shape[1], dtype=torch.float64)
        total.index_add_(0, self.answer, logits * self.weight[:, None])
        return total / self.answer_weight.clamp(min=1)[:, None]

    def waves(self, numbers: Sequence[int]) -> LogitWaves:
        """What finds the waves of these frequencies, or these representations, in mean logits."""
        return LogitWaves(*projection(self.parts.functions(numbers), self.answer_weight))


@dataclass(frozen=True)
class LogitWaves:
    """The waves cos and sin of w_k s of some frequencies k, in mean logits over right answers s.

    They are the projections of Nanda et al. 2023 (arXiv 2301.05217) on cos(w_k (a + b)) and
    sin(w_k (a + b)) where the operation is addition. For a group they are the entries of ρ(s).

    Attributes:
        with_offset: projects on the constant and the waves.
        alone: projects on the waves.
    """

    with_offset: Float[Tensor, "s s"]
    alone: Float[Tensor, "s s"]

    def restricted(self, mean: Float[Tensor, "s c"]) -> Float[Tensor, "s c"]:
        """For each right answer nothing but the constant and the waves."""
        return self.with_offset @ mean

    def excluded(
        self,
        logits: Float[Tensor, "pair c"],
        mean: Float[Tensor, "s c"],
        answer: Integer[Tensor, " pair"],
    ) -> Float[Tensor, "pair c"]:
        """The logits of pairs without the waves, which are those of their right answers."""
        return logits - (self.alone @ mean)[answer]


def place_of(order: Integer[Tensor, " n"], size: int) -> Integer[Tensor, " size"]:
    """The place of each token in an order; −1 for one that has none.

    >>> place_of(torch.tensor([1, 2, 4, 3]), 6).tolist()
    [-1, 0, 1, 3, 2, -1]
    """
    place = torch.full((size,), -1)
    place[order] = torch.arange(len(order))
    return place
