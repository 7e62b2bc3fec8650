"""Modular addition of more than two numbers."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from mechgrok.tasks.base import Examples, Task
from mechgrok.tasks.modular import LARGEST_P

if TYPE_CHECKING:
    from jaxtyping import Integer
    from torch import Tensor


class ModularSum(Task):
    """c = a₁ + … + a_k mod p, over all pᵏ sequences of k residues.

    With two terms it is addition over ordered pairs, in the same order. The number of examples
    grows exponentially with the terms and must fit in memory.
    """

    modular: ClassVar[bool] = True

    name: str = "sum"
    p: Annotated[int, Field(ge=2, le=LARGEST_P)] = Field(default=67, description="Modulus.")
    terms: Annotated[int, Field(ge=2, le=32)] = Field(
        default=3, description="Number of terms (sum)."
    )
    equals: bool = Field(default=False, description="Append an '=' token to each pair.")

    @property
    def n_examples(self) -> int:
        return self.p**self.terms

    @cached_property
    def numbers(self) -> Integer[Tensor, "n terms"]:
        """All sequences (a₁, …, a_k), in lexicographic order."""
        import torch

        place = self.p ** torch.arange(self.terms - 1, -1, -1)
        return torch.arange(self.n_examples)[:, None] // place % self.p

    @cached_property
    def examples(self) -> Examples:
        import torch

        inputs, answers = self.numbers, self.numbers.sum(1) % self.p
        if self.equals:
            inputs = torch.cat([inputs, inputs.new_full((len(inputs), 1), self.p)], dim=1)
        return Examples(inputs, answers)

    @property
    def d_vocab(self) -> int:
        return self.p + self.equals

    @property
    def n_ctx(self) -> int:
        return self.terms + self.equals

    @property
    def d_output(self) -> int:
        return self.training_objective.d_output(self.p)

    @property
    def vocabulary(self) -> list[str]:
        return [str(residue) for residue in range(self.p)] + ["="] * self.equals

    def __str__(self) -> str:
        return f"the sum of {self.terms} numbers mod {self.p}"
