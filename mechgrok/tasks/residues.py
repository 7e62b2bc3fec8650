"""The order of residues in which a task is a shift."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mechgrok.errors import UserError
from mechgrok.tasks.base import Task

if TYPE_CHECKING:
    from jaxtyping import Integer
    from torch import Tensor

#: The order of residues: by value, or by discrete logarithm.
Order = Literal["additive", "multiplicative"]
#: An option for the order of residues; "auto" is the one in which the task is a shift.
OrderOption = Literal["auto", "additive", "multiplicative"]


def primitive_root(p: int) -> int:
    """The smallest g with powers g⁰, …, g^(p−2) equal to all nonzero residues modulo a prime p.

    Raises:
        UserError: p is not prime.

    >>> primitive_root(7), [pow(3, k, 7) for k in range(6)]
    (3, [1, 3, 2, 6, 4, 5])
    """
    for g in range(1, p):
        power, order = g % p, 1
        while power != 1 and order < p:
            power, order = power * g % p, order + 1
        if order == p - 1:
            # This happens only for a prime p.
            return g
    raise UserError(
        f"{p} is not prime, so its residues have no discrete logarithm: choose the additive order."
    )


def cyclic_order(p: int, order: Order = "additive") -> Integer[Tensor, " n"]:
    """The residues in the order in which an operation is a shift.

    Additive: 0, 1, …, p − 1, where adding 1 is a shift. Multiplicative: g⁰, g¹, …, g^(p−2) for the
    smallest primitive root g, where multiplying by g is a shift; a product is then a sum of
    positions modulo p − 1, and 0 has no position. Networks that multiply are periodic in this order
    (Chughtai et al. 2023, arXiv 2302.03025: characters of the group).

    Raises:
        UserError: the order is multiplicative, and p is not a prime above 2.

    >>> cyclic_order(7, "multiplicative")
    tensor([1, 3, 2, 6, 4, 5])
    """
    import torch

    if order == "additive":
        return torch.arange(p)
    if p == 2:
        raise UserError(
            "Modulo 2 only 1 has a discrete logarithm, so the multiplicative order has no "
            "frequencies: choose the additive order."
        )
    g = primitive_root(p)
    return torch.tensor([pow(g, exponent, p) for exponent in range(p - 1)])


def not_modular(task: Task) -> str | None:
    """The reason why a task has no frequencies; None if inputs and labels are residues.

    >>> from mechgrok.tasks import make_task
    >>> print(not_modular(make_task("add")))
    None
    >>> not_modular(make_task("parity"))
    'parity of 3 out of 40 bits is not modular arithmetic.'
    """
    if not task.modular:
        return f"{task} {task.why_not_modular}."
    if task.d_output < 2:
        return f"{task} has one output, whose sign is the answer, and so no spectrum."
    if task.d_vocab < task.d_output:
        return f"{task} has {task.d_vocab} tokens, too few for residues modulo {task.d_output}."
    return None


def natural_order(task: Task) -> Order:
    """Multiplicative for products and quotients modulo a prime above 2, else additive.

    >>> from mechgrok.tasks import make_task
    >>> [natural_order(make_task(name, p=7)) for name in ("add", "mul", "div")]
    ['additive', 'multiplicative', 'multiplicative']
    """
    return "multiplicative" if task.name in ("mul", "div") and _is_field(task) else "additive"


def _is_field(task: Task) -> bool:
    try:
        cyclic_order(task.d_output, "multiplicative")
    except UserError:
        return False
    return True


def residues(task: Task, order: OrderOption = "auto") -> Integer[Tensor, " n"]:
    """The task's residues in an order (`cyclic_order`).

    Raises:
        UserError: the order is multiplicative, and the modulus is not a prime above 2.

    >>> from mechgrok.tasks import make_task
    >>> residues(make_task("mul", p=5)), residues(make_task("mul", p=5), "additive")
    (tensor([1, 2, 4, 3]), tensor([0, 1, 2, 3, 4]))
    """
    return cyclic_order(task.d_output, natural_order(task) if order == "auto" else order)
