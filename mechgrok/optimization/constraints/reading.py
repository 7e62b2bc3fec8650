"""Parsing constraints: ``norm:of=each:times=1,freeze:of=W_E``."""

from __future__ import annotations

from typing import Any

from mechgrok.errors import UserError
from mechgrok.fields import make_named, named_parts
from mechgrok.optimization.constraints import CONSTRAINTS
from mechgrok.optimization.constraints.base import Constraint


def read_constraints(value: Any) -> tuple[Constraint, ...]:
    """Constraints from a text, from dictionaries of names and options, or from objects.

    >>> [str(constraint) for constraint in read_constraints("norm:value=30+freeze:of=W_E+W_U")]
    ['norm:value=30', 'freeze:of=W_E+W_U']

    Raises:
        UserError: a constraint or an option is unknown, or two conflict.
    """
    constraints = tuple(
        make_named(CONSTRAINTS, Constraint, part) for part in named_parts(CONSTRAINTS, value)
    )
    for index, second in enumerate(constraints):
        for first in constraints[:index]:
            begins = max(first.since, second.since)
            overlap = all(each.until is None or begins < each.until for each in (first, second))
            if overlap and second.conflicts(first):
                raise UserError(
                    f"{first} and {second} hold the same quantity at once: give one of them, or "
                    "other steps by since and until."
                )
    return constraints
