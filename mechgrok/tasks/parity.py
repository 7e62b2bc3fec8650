"""Sparse parity: the product of k bits out of n."""

from functools import cached_property
from typing import Annotated, Self

import torch
from jaxtyping import Float, Integer
from pydantic import Field, model_validator
from torch import Tensor

from mechgrok.errors import UserError
from mechgrok.tasks.base import Examples, Task
from mechgrok.tasks.losses import UNITS, Objective, hinge, sign_mse

#: Up to this many bits, all 2ⁿ inputs are listed and drawn from without repetition.
_FEW_BITS = 20


class SparseParity(Task):
    """y = Π_{i<k} x_i for x ∈ {−1, 1}ⁿ: which k bits count is what a network has to find out.

    The bits that count are the first k; the network cannot know, and pictures are easier to read.
    Labels are 0 for y = −1 and 1 for y = 1.

    Attributes:
        n: bits of the input.
        k: bits that count.
        samples: examples, train and test together, drawn uniformly (without repetition up to
            n = 20; beyond, two equal ones among the usual few thousand are next to impossible).
        objective: "hinge" and "mse" read the sign of one output, "cross-entropy" the larger of two.
        sample_seed: seeds the draw of the examples.

    Source: Merrill, Tsilivis and Shukla 2023 (arXiv 2303.11873): n = 40, k = 3, 1,000 training and
    1,000 test points, hinge loss.
    """

    input_kind = "vectors"

    name: str = "parity"
    n: Annotated[int, Field(ge=1)] = 40
    k: Annotated[int, Field(ge=1)] = 3
    samples: Annotated[int, Field(ge=2)] = 2000
    train_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.5
    objective: Objective = "hinge"
    sample_seed: Annotated[int, Field(ge=0)] = 0

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

    @cached_property
    def examples(self) -> Examples:
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
    def d_output(self) -> int:
        return 2 if self.objective == "cross-entropy" else 1

    def loss(
        self, outputs: Float[Tensor, "n d_output"], labels: Integer[Tensor, " n"]
    ) -> Float[Tensor, ""]:
        """The objective, in float64."""
        if self.objective == "cross-entropy":
            return super().loss(outputs, labels)
        return {"hinge": hinge, "mse": sign_mse}[self.objective](outputs, labels)

    @property
    def loss_units(self) -> str:
        return UNITS[self.objective]

    def accuracy(
        self, outputs: Float[Tensor, "n d_output"], labels: Integer[Tensor, " n"]
    ) -> Float[Tensor, ""]:
        """Share of examples whose parity is told right."""
        if self.objective == "cross-entropy":
            return super().accuracy(outputs, labels)
        return ((outputs[:, 0] > 0) == labels.bool()).double().mean()

    def __str__(self) -> str:
        return f"parity of {self.k} out of {self.n} bits"
