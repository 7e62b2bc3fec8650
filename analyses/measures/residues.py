"""Residues in the order in which a task is a shift."""

from typing import Literal

from jaxtyping import Integer
from torch import Tensor

from analyses.measures.fourier import Order, cyclic_order
from mechgrok.errors import UserError
from mechgrok.tasks import Task

#: The order of residues that a figure shows; "auto" is the one in which the task is a shift.
OrderOption = Literal["auto", "additive", "multiplicative"]


def not_modular(task: Task) -> str | None:
    """Why frequencies mean nothing for a task; None where inputs and labels are residues.

    >>> from mechgrok.tasks import make_task
    >>> print(not_modular(make_task("add")))
    None
    >>> not_modular(make_task("parity"))
    'parity of 3 out of 40 bits is not modular arithmetic.'
    """
    if not task.modular:
        return f"{task} is not modular arithmetic."
    if task.d_vocab < task.d_output:
        return f"{task} has {task.d_vocab} tokens, too few for residues modulo {task.d_output}."
    return None


def natural_order(task: Task) -> Order:
    """Multiplicative for products and quotients modulo a prime, additive for everything else.

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
    """The task's residues in the order asked for (`fourier.cyclic_order`).

    Raises:
        UserError: the order is multiplicative and the modulus is not a prime.

    >>> from mechgrok.tasks import make_task
    >>> residues(make_task("mul", p=5)), residues(make_task("mul", p=5), "additive")
    (tensor([1, 2, 4, 3]), tensor([0, 1, 2, 3, 4]))
    """
    return cyclic_order(task.d_output, natural_order(task) if order == "auto" else order)
