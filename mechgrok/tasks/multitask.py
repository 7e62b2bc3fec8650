"""Several modular operations in one task, distinguished by a token between the operands."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import Field, model_validator

from mechgrok.errors import UserError
from mechgrok.tasks.base import Examples, Task
from mechgrok.tasks.modular import LARGEST_P, ModularArithmetic

if TYPE_CHECKING:
    from jaxtyping import Integer
    from torch import Tensor


class MultitaskArithmetic(Task):
    """c = a ∘ b mod p over all ordered pairs and several operations ∘, as tokens (a, ∘, b, =).

    Tokens 0 … p − 1 are the residues, the next ones the operations in order, and the last is "=".

    Source: the operation token of Power et al. 2022 (arXiv 2201.02177), here with several
    operations.
    """

    modular: ClassVar[bool] = True

    name: str = "multitask"
    operations: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        default=("add", "sub"), description="Operations of multitask, such as add,sub; not random."
    )
    p: Annotated[int, Field(ge=2, le=LARGEST_P)] = Field(default=59, description="Modulus.")

    @model_validator(mode="after")
    def _known_answers(self) -> Self:
        if "random" in self.operations:
            raise UserError("Random labels are a separate task: choose --task random.")
        if len(set(self.operations)) < len(self.operations):
            raise UserError(
                f"The operations {', '.join(self.operations)} repeat one: name each once."
            )
        _ = self._parts
        return self

    @cached_property
    def _parts(self) -> list[ModularArithmetic]:
        return [ModularArithmetic(name=name, p=self.p, pairs="ordered") for name in self.operations]

    @property
    def n_examples(self) -> int:
        return sum(part.n_examples for part in self._parts)

    @cached_property
    def operation(self) -> Integer[Tensor, " n"]:
        """The index of each example's operation in ``operations``."""
        import torch

        counts = torch.tensor([len(part.pair) for part in self._parts])
        return torch.arange(len(self._parts)).repeat_interleave(counts)

    @cached_property
    def examples(self) -> Examples:
        import torch

        a, b = torch.cat([part.pair for part in self._parts]).unbind(1)
        equals = torch.full_like(a, self.d_vocab - 1)
        inputs = torch.stack([a, self.p + self.operation, b, equals], dim=1)
        return Examples(inputs, torch.cat([part.examples.labels for part in self._parts]))

    @property
    def d_vocab(self) -> int:
        return self.p + len(self.operations) + 1

    @property
    def n_ctx(self) -> int:
        return 4

    @property
    def d_output(self) -> int:
        return self.training_objective.d_output(self.p)

    @property
    def vocabulary(self) -> list[str]:
        return [*(str(residue) for residue in range(self.p)), *self.operations, "="]

    def __str__(self) -> str:
        return f"{' and '.join(self.operations)} mod {self.p}, ordered pairs"
