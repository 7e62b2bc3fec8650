"""Parsing constraints: ``norm:of=each:times=1,freeze:of=W_E``."""

from __future__ import annotations

from typing import Any

from mechgrok.errors import UserError
from mechgrok.fields import make_named, named_parts
from mechgrok.optimization.constraints import CONSTRAINTS
from mechgrok.optimization.constraints.base import EACH, Constraint
from mechgrok.optimization.constraints.norm import Norm


def read_constraints(value: Any) -> tuple[Constraint, ...]:
    """Constraints from a text, from dictionaries of names and options, or from objects.

    >>> [str(constraint) for constraint in read_constraints("norm:value=30+freeze:of=W_E+W_U")]
    ['norm:value=30', 'freeze:of=W_E+W_U']

    Raises:
        UserError: a constraint or an option is unknown, or two hold the same norm at once.
    """
    constraints = tuple(
        make_named(CONSTRAINTS, Constraint, part) for part in named_parts(CONSTRAINTS, value)
    )
    held = [each for each in constraints if isinstance(each, Norm) and each.max is None]
    for index, first in enumerate(held):
        for second in held[:index]:
            if _overlap(first, second):
                raise UserError(
                    f"{second} and {first} hold the same norm at once: give one of them, or other "
                    "steps by since and until."
                )
    return constraints


def _overlap(first: Norm, second: Norm) -> bool:
    """Whether two norms of the same weights are held at the same step."""
    same = first.of == second.of or EACH in (first.of, second.of)
    begins = max(first.since, second.since)
    return same and all(each.until is None or begins < each.until for each in (first, second))
