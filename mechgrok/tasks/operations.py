"""Modular operations: c = f(a, b) mod p, each a function of two residues.

A new operation is one decorated function here, in another package (entry points of the group
``mechgrok.operations``), or in your own file (``file.py:name``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mechgrok.registry import Registry

if TYPE_CHECKING:
    from jaxtyping import Integer
    from torch import Tensor

#: The pairs (a, b) that are examples; see `mechgrok.tasks.modular.ModularArithmetic`.
Pairs = Literal["unordered", "ordered", "descending"]

Function = Callable[
    ["Integer[Tensor, '*n']", "Integer[Tensor, '*n']", int], "Integer[Tensor, '*n']"
]


@dataclass(frozen=True)
class Operation:
    """An operation on residues modulo p.

    Attributes:
        function: f(a, b, p) on tensors of residues, to be reduced modulo p; None for random labels.
        symbol: its notation.
        commutative: whether f(a, b) = f(b, a) for all a and b.
        usual_pairs: the default pairs.
        divides: whether it is defined only for b ≠ 0 and a prime p.
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
    """Decorator that turns f(a, b, p) into an operation.

    Args:
        symbol: its notation.
        name: its name in the registry; None for an operation in your own file.
        commutative: whether f(a, b) = f(b, a).
        usual_pairs: the default pairs; default: unordered for a commutative operation, else
            ordered.
        divides: whether it is defined only for b ≠ 0 and a prime p.
    """
    pairs: Pairs = usual_pairs or ("unordered" if commutative else "ordered")

    def make(function: Function) -> Operation:
        new = Operation(function, symbol, commutative, pairs, divides)
        return OPERATIONS.register(name)(new) if name else new

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


#: A control that cannot generalize: uniformly random labels.
OPERATIONS.own["random"] = Operation(None, "random")
