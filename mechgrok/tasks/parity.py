"""Sparse parity: the product of k bits out of n."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Self

from pydantic import Field, model_validator

from mechgrok.errors import UserError
from mechgrok.tasks.base import Examples, Seed, Task
from mechgrok.tasks.objectives import OBJECTIVES, Objective, ObjectiveName

#: Up to this many bits, examples are drawn from the list of all 2ⁿ inputs, without repetition.
_FEW_BITS = 20


class SparseParity(Task):
    """y = Π_{i<k} x_i for x ∈ {−1, 1}ⁿ: a network must learn which k bits matter.

    They are the first k bits, which does not help the network and makes figures easier to read.
    Labels are 0 for y = −1 and 1 for y = 1.

    Samples are uniform, without repetition up to n = 20; beyond, repetitions among a few thousand
    samples are very unlikely. The objectives "hinge" and "mse" use the sign of one output,
    "cross-entropy" the larger of two.

    Source: Merrill, Tsilivis and Shukla 2023 (arXiv 2303.11873): n = 40, k = 3, 1,000 training and
    1,000 test points, hinge loss.
    """

    input_kind = "vectors"

    name: str = "parity"
    n: Annotated[int, Field(ge=1, le=10**7)] = Field(
        default=40, description="Number of bits (parity)."
    )
    k: Annotated[int, Field(ge=1)] = Field(
        default=3, description="Number of bits that matter (parity)."
    )
    samples: Annotated[int, Field(ge=2)] = Field(
        default=2000, description="Number of examples to draw, train and test together."
    )
    train_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.5
    objective: ObjectiveName = "hinge"
    sample_seed: Seed = Field(default=0, description="Seed of the examples.")

    @model_validator(mode="after")
    def _enough_bits(self) -> Self:
        if self.k > self.n:
            raise UserError(
                f"A parity of k = {self.k} bits needs at least as many input bits, but n = "
                f"{self.n}: choose k ≤ n."
            )
        if self.n <= _FEW_BITS and self.samples > 2**self.n:
            raise UserError(
                f"There are only {2**self.n} different inputs of {self.n} bits, so {self.samples} "
                "samples cannot be drawn: choose fewer samples or more bits."
            )
        return self

    @property
    def n_examples(self) -> int:
        return self.samples

    @cached_property
    def examples(self) -> Examples:
        import torch

        generator = torch.Generator().manual_seed(self.sample_seed)
        if self.n <= _FEW_BITS:
            number = torch.randperm(2**self.n, generator=generator)[: self.samples]
            bits = number[:, None] >> torch.arange(self.n) & 1
        else:
            bits = torch.randint(2, (self.samples, self.n), generator=generator)
        vectors = 2 * bits - 1
        return Examples(vectors.float(), (vectors[:, : self.k].prod(1) > 0).long())

    @property
    def d_vocab(self) -> int:
        return self.n

    @property
    def training_objective(self) -> Objective:
        return OBJECTIVES.load(self.objective)

    @property
    def d_output(self) -> int:
        return self.training_objective.d_output(2)

    def __str__(self) -> str:
        return f"parity of {self.k} out of {self.n} bits"
