"""A finite group as its multiplication table, checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Integer

from mechgrok.errors import UserError

#: The largest order: 7! elements, and 25 million pairs of them.
LARGEST_ORDER = 5040


@dataclass(frozen=True, eq=False)
class Group:
    """A finite group, its elements numbered from 0.

    Attributes:
        name: such as S5; what a figure calls it.
        table: the number of a·b in row a and column b.
        elements: what each element is called.
        family: how it is built (`mechgrok.tasks.groups.families`), by which its representations
            are known in closed form; empty for a table of one's own.
    """

    name: str
    table: Integer[np.ndarray, "n n"] = field(repr=False)
    elements: tuple[str, ...] = field(repr=False)
    family: tuple[str, ...] = ()

    @property
    def order(self) -> int:
        """The number of elements."""
        return len(self.table)

    @cached_property
    def identity(self) -> int:
        """The number of the element e with e·a = a."""
        return int(np.flatnonzero((self.table == np.arange(self.order)).all(1))[0])

    @cached_property
    def inverse(self) -> Integer[np.ndarray, " n"]:
        """The number of each element's inverse."""
        return (self.table == self.identity).argmax(1)

    @cached_property
    def is_commutative(self) -> bool:
        """Whether a·b = b·a for all a and b."""
        return bool((self.table == self.table.T).all())

    @cached_property
    def generators(self) -> list[int]:
        """Few elements whose products are all elements: each the first that was not reached."""
        return generators(self.table)


def generators(table: Integer[np.ndarray, "n n"]) -> list[int]:
    """Elements whose products, multiplied from the right, are all elements; few for a group.

    >>> generators(np.add.outer(np.arange(6), np.arange(6)) % 6)
    [0, 1]
    """
    n, found = len(table), []
    reached = np.zeros(n, dtype=bool)
    while not reached.all():
        found.append(int(np.flatnonzero(~reached)[0]))
        new = np.array(found[-1:])
        while len(new):
            reached[new] = True
            products = np.unique(table[np.flatnonzero(reached)[:, None], found])
            new = products[~reached[products]]
    return found


def check_group(table: Integer[np.ndarray, "n n"], where: str) -> None:
    """Refuse a table that is no group's.

    Associativity is Light's test: (a·g)·b = a·(g·b) for the generators g is enough.

    Args:
        table: n rows of n whole numbers.
        where: the table, in words, for the message.

    Raises:
        UserError: an entry is no element, or there is no identity, an element has no inverse, or
            the operation is not associative; the message names elements that show it.
    """
    n = len(table)
    if outside := table[(table < 0) | (table >= n)].tolist():
        counted = " (elements are counted from 0)" if table.min() == 1 and table.max() == n else ""
        raise UserError(
            f"{where} is not closed: it holds {outside[0]}, and its {n} elements are 0 to "
            f"{n - 1}{counted}."
        )
    every = np.arange(n)
    left = (table == every).all(1) & (every == table.T).all(1)
    if not left.any():
        raise UserError(f"{where} has no identity: no row and column is 0, 1, … {n - 1}.")
    e = int(left.argmax())
    inverse = (table == e) & (table == e).T
    if not inverse.any(1).all():
        lacking = int(np.flatnonzero(~inverse.any(1))[0])
        raise UserError(f"{where} is no group: its element {lacking} has no inverse.")
    for g in generators(table):
        wrong = np.argwhere(table[table[:, g]] != table[:, table[g]])
        if len(wrong):
            a, b = wrong[0].tolist()
            raise UserError(
                f"{where} is no group: ({a}·{g})·{b} is {table[table[a, g], b]}, but {a}·({g}·{b}) "
                f"is {table[a, table[g, b]]}."
            )
