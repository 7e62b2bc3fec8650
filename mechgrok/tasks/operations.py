"""Modular operations: c = f(a, b) mod p, each a function of two residues.

A new one is one decorated function here, in another package (entry points of the group
``mechgrok.operations``), or in a file of one's own (``file.py:name``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mechgrok.registry import Registry

if TYPE_CHECKING:
    from jaxtyping import Integer
    from torch import Tensor

#: Which pairs (a, b) are examples; see `mechgrok.tasks.modular.ModularArithmetic`.
Pairs = Literal["unordered", "ordered", "descending"]

Function = Callable[
    ["Integer[Tensor, '*n']", "Integer[Tensor, '*n']", int], "Integer[Tensor, '*n']"
]


@dataclass(frozen=True)
class Operation:
    """An operation on residues modulo p.

    Attributes:
        function: f(a, b, p) on tensors of residues; what it returns is reduced modulo p. None where
            labels are drawn instead.
        symbol: how it is written.
        commutative: whether f(a, b) = f(b, a) for all a and b.
        usual_pairs: the pairs that it is studied on unless another choice is made.
        divides: defined for b ≠ 0 and a prime p only.
    """

    function: Function | None
    symbol: str
    commutative: bool = True
    usual_pairs: Pairs = "unordered"
    divides: bool = False


OPERATIONS: Registry[Operation] = Registry("operation", "mechgrok.operations")


def operation(
    symbol: str,
    name: str | None = None,
    *,
    commutative: bool = True,
    usual_pairs: Pairs | None = None,
    divides: bool = False,
) -> Callable[[Function], Operation]:
    """Decorator that makes an operation of f(a, b, p); arguments are those of `Operation`.

    Args:
        symbol: how it is written.
        name: what it is found under here; none for an operation in a file of one's own.
        commutative: whether f(a, b) = f(b, a).
        usual_pairs: unordered for a commutative operation and ordered for another, unless given.
        divides: defined for b ≠ 0 and a prime p only.
    """
    pairs: Pairs = usual_pairs or ("unordered" if commutative else "ordered")

    def make(function: Function) -> Operation:
        made = Operation(function, symbol, commutative, pairs, divides)
        return OPERATIONS.register(name)(made) if name else made

    return make


@operation("a + b", "add")
def add(a: Tensor, b: Tensor, p: int) -> Tensor:
    return a + b


@operation("a − b", "sub", commutative=False, usual_pairs="descending")
def sub(a: Tensor, b: Tensor, p: int) -> Tensor:
    return a - b


@operation("a · b", "mul")
def mul(a: Tensor, b: Tensor, p: int) -> Tensor:
    return a * b


@operation("a / b", "div", commutative=False, divides=True)
def div(a: Tensor, b: Tensor, p: int) -> Tensor:
    import torch

    inverse = torch.tensor([0] + [pow(x, -1, p) for x in range(1, p)])
    return a * inverse.to(b.device)[b]


@operation("a² + b²", "x2+y2")
def sum_of_squares(a: Tensor, b: Tensor, p: int) -> Tensor:
    return a * a + b * b


@operation("a² + ab + b²", "x2+xy+y2")
def quadratic_form(a: Tensor, b: Tensor, p: int) -> Tensor:
    return a * a + a * b + b * b


#: A control that cannot generalize: labels are drawn uniformly.
OPERATIONS.own["random"] = Operation(None, "random")
