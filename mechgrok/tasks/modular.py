"""Modular arithmetic: c = f(a, b) mod p over pairs of residues."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from mechgrok.errors import UserError
from mechgrok.tasks.base import Examples, Seed
from mechgrok.tasks.binary import BinaryOperation
from mechgrok.tasks.operations import OPERATIONS, Operation, Pairs
from mechgrok.user_code import reraise_as_user_error

if TYPE_CHECKING:
    from jaxtyping import Integer
    from torch import Tensor

#: The largest modulus; the list of all pairs limits it.
LARGEST_P = 100_000


def is_prime(n: int) -> bool:
    """Whether ``n`` is a prime number, by trial division."""
    return n > 1 and all(n % divisor for divisor in range(2, int(n**0.5) + 1))


class ModularArithmetic(BinaryOperation):
    """c = f(a, b) mod p, from two tokens a and b to one of p answers.

    The operation f is the task's name (`mechgrok.tasks.operations`). Pairs are ``unordered``
    (a ≤ b, p(p+1)/2 pairs, for commutative f), ``ordered`` (all p², without b = 0 for division),
    or ``descending`` (0 < b < a, the paper's choice for a − b).

    Source: Minegishi et al. 2023 (arXiv 2310.19470), sections 3 and A.3.
    """

    modular: ClassVar[bool] = True

    name: str = "add"
    p: Annotated[int, Field(ge=2, le=LARGEST_P)] = Field(default=67, description="Modulus.")
    pairs: Pairs = Field(
        default="unordered",
        description="Pairs: unordered, ordered, or descending (b < a); default: by operation.",
    )
    label_seed: Seed = Field(default=0, description="Seed of random labels.")

    @model_validator(mode="before")
    @classmethod
    def _usual_pairs(cls, fields: dict[str, Any]) -> dict[str, Any]:
        if fields.get("pairs") is None:
            fields = fields | {"pairs": cls.operation_of(fields).usual_pairs}
        return fields

    @model_validator(mode="after")
    def _well_defined(self) -> Self:
        operation = self.operation
        if self.pairs == "unordered" and not operation.commutative:
            descending = "" if operation.divides else " or descending"
            raise UserError(
                f"{operation.symbol} is not commutative, so unordered pairs do not determine it: "
                f"choose --pairs ordered{descending}."
            )
        if operation.divides and not is_prime(self.p):
            raise UserError(
                f"Division modulo {self.p} is not defined for every b, because {self.p} is not "
                "prime: choose a prime modulus."
            )
        return self

    @classmethod
    def operation_of(cls, fields: dict[str, Any]) -> Operation:
        """The operation of a task with these fields."""
        return OPERATIONS.load(fields.get("name", "add"))

    @cached_property
    def operation(self) -> Operation:
        """The operation f."""
        return self.operation_of(dict(self))

    @property
    def order_matters(self) -> bool:
        """Whether both (a, b) and (b, a) are examples, with different answers."""
        return not self.operation.commutative and self.pairs == "ordered"

    @property
    def mirrored(self) -> bool:
        return self.pairs == "unordered"

    @property
    def n_examples(self) -> int:
        p = self.p
        return {
            "unordered": p * (p + 1) // 2,
            "ordered": p * (p - 1) if self.operation.divides else p * p,
            "descending": (p - 1) * (p - 2) // 2,
        }[self.pairs]

    @cached_property
    def pair(self) -> Integer[Tensor, "n 2"]:
        """All pairs (a, b) in lexicographic order."""
        import torch

        p = self.p
        if self.pairs == "unordered":
            pairs = torch.triu_indices(p, p).T
        elif self.pairs == "descending":
            pairs = torch.tril_indices(p, p, -1).T
        else:
            pairs = torch.cartesian_prod(torch.arange(p), torch.arange(p))
        no_zero = self.pairs == "descending" or self.operation.divides
        return pairs[pairs[:, 1] > 0] if no_zero else pairs.contiguous()

    def answer(self, a: Integer[Tensor, " n"], b: Integer[Tensor, " n"]) -> Integer[Tensor, " n"]:
        """c = f(a, b) mod p.

        Raises:
            UserError: the labels are random.
        """
        if self.operation.function is None:
            raise UserError("Random labels follow no formula: read them from the task's examples.")
        with reraise_as_user_error(self.name):
            return self.operation.function(a, b, self.p) % self.p

    @cached_property
    def examples(self) -> Examples:
        if self.operation.function is None:
            import torch

            generator = torch.Generator().manual_seed(self.label_seed)
            labels = torch.randint(self.p, (len(self.pair),), generator=generator)
        else:
            labels = self.answer(*self.pair.unbind(1))
        return Examples(self.tokens(self.pair), labels)

    @property
    def n_answers(self) -> int:
        return self.p

    @property
    def vocabulary(self) -> list[str]:
        return [str(residue) for residue in range(self.p)] + ["="] * self.equals

    def __str__(self) -> str:
        return f"{self.operation.symbol} mod {self.p}, {self.pairs} pairs"
