"""Modular arithmetic: c = f(a, b) mod p over pairs of residues."""

from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from jaxtyping import Bool, Integer
from pydantic import Field, model_validator
from torch import Tensor

from mechgrok.errors import UserError
from mechgrok.tasks.base import Examples, Task

Operation = Literal["add", "sub", "mul", "div", "x2+y2", "x2+xy+y2", "random"]
Pairs = Literal["unordered", "ordered", "descending"]

_SYMBOL = {
    "add": "a + b",
    "sub": "a − b",
    "mul": "a · b",
    "div": "a / b",
    "x2+y2": "a² + b²",
    "x2+xy+y2": "a² + ab + b²",
    "random": "random",
}
#: The pairs that an operation is studied on unless another choice is made.
_USUAL_PAIRS: dict[str, Pairs] = {"sub": "descending", "div": "ordered"}


def is_prime(n: int) -> bool:
    """Whether ``n`` is a prime number, by trial division."""
    return n > 1 and all(n % divisor for divisor in range(2, int(n**0.5) + 1))


class ModularArithmetic(Task):
    """c = f(a, b) mod p, from two tokens a and b to one of p answers.

    Attributes:
        name: the operation f. ``random`` draws c uniformly, as a control that cannot generalize.
        p: the modulus.
        pairs: ``unordered`` (a ≤ b, p(p+1)/2 pairs; only where f is commutative), ``ordered`` (all
            p², less those with b = 0 for division), or ``descending`` (0 < b < a, as the paper
            takes a − b). Unless given: unordered, but descending for sub and ordered for div.
        equals: append the token "=" (number p) to every pair, as Nanda et al. do.
        label_seed: seeds the labels of ``random``.

    Source: Minegishi et al. 2023 (arXiv 2310.19470), sections 3 and A.3.
    """

    modular: ClassVar[bool] = True

    name: Operation = "add"
    p: Annotated[int, Field(ge=2)] = 67
    pairs: Pairs = "unordered"
    equals: bool = False
    label_seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="before")
    @classmethod
    def _usual_pairs(cls, fields: dict[str, Any]) -> dict[str, Any]:
        if fields.get("pairs") is None:
            fields = fields | {"pairs": _USUAL_PAIRS.get(fields.get("name", ""), "unordered")}
        return fields

    @model_validator(mode="after")
    def _well_defined(self) -> Self:
        if self.pairs == "unordered" and self.name in ("sub", "div"):
            raise UserError(
                f"{_SYMBOL[self.name]} is not commutative, so unordered pairs do not determine it: "
                f"choose --pairs ordered{' or descending' if self.name == 'sub' else ''}."
            )
        if self.name == "div" and not is_prime(self.p):
            raise UserError(
                f"Division modulo {self.p} is not defined for every b, because {self.p} is not "
                "prime: choose a prime modulus."
            )
        return self

    @property
    def order_matters(self) -> bool:
        """Whether both (a, b) and (b, a) are examples, with different answers."""
        return self.name in ("sub", "div") and self.pairs == "ordered"

    @cached_property
    def pair(self) -> Integer[Tensor, "n 2"]:
        """All pairs (a, b) in lexicographic order."""
        grid = torch.cartesian_prod(torch.arange(self.p), torch.arange(self.p))
        return grid[self._kept(*grid.unbind(1))]

    def _kept(self, a: Integer[Tensor, " n"], b: Integer[Tensor, " n"]) -> Bool[Tensor, " n"]:
        kept = {
            "unordered": a <= b,
            "ordered": torch.ones_like(a, dtype=torch.bool),
            "descending": (b > 0) & (b < a),
        }[self.pairs]
        return kept & (b > 0) if self.name == "div" else kept

    def answer(self, a: Integer[Tensor, " n"], b: Integer[Tensor, " n"]) -> Integer[Tensor, " n"]:
        """c = f(a, b) mod p for the operations that are a function of the pair.

        Raises:
            UserError: for random labels, which belong to the examples and to nothing else.
        """
        if self.name == "random":
            raise UserError("Random labels follow no formula: read them from the task's examples.")
        if self.name == "div":
            inverse = torch.tensor([0] + [pow(x, -1, self.p) for x in range(1, self.p)])
            return a * inverse.to(b.device)[b] % self.p
        value = {
            "add": a + b,
            "sub": a - b,
            "mul": a * b,
            "x2+y2": a * a + b * b,
            "x2+xy+y2": a * a + a * b + b * b,
        }[self.name]
        return value % self.p

    @cached_property
    def examples(self) -> Examples:
        if self.name == "random":
            generator = torch.Generator().manual_seed(self.label_seed)
            labels = torch.randint(self.p, (len(self.pair),), generator=generator)
        else:
            labels = self.answer(*self.pair.unbind(1))
        return Examples(self.tokens(self.pair), labels)

    def tokens(self, pair: Integer[Tensor, "n 2"]) -> Integer[Tensor, "n pos"]:
        """The token sequence of each pair: (a, b), or (a, b, p) with ``equals``."""
        if not self.equals:
            return pair
        return torch.cat([pair, pair.new_full((len(pair), 1), self.p)], dim=1)

    @property
    def d_vocab(self) -> int:
        return self.p + self.equals

    @property
    def n_ctx(self) -> int:
        return 2 + self.equals

    @property
    def d_output(self) -> int:
        return self.p

    @property
    def vocabulary(self) -> list[str]:
        return [str(residue) for residue in range(self.p)] + ["="] * self.equals

    def __str__(self) -> str:
        return f"{_SYMBOL[self.name]} mod {self.p}, {self.pairs} pairs"
