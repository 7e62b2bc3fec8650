"""Partitions, Young tableaux, and Young's orthogonal form of representations."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt

import numpy as np
from jaxtyping import Float, Integer

Partition = tuple[int, ...]


def partitions(n: int, largest: int | None = None) -> Iterator[Partition]:
    """The partitions of n into decreasing positive numbers.

    >>> list(partitions(4))
    [(4,), (3, 1), (2, 2), (2, 1, 1), (1, 1, 1, 1)]
    """
    if n == 0:
        yield ()
    for first in range(min(n, largest or n), 0, -1):
        for rest in partitions(n - first, first):
            yield (first, *rest)


def conjugate(partition: Partition) -> Partition:
    """The partition whose rows are the columns of this one.

    >>> conjugate((3, 1))
    (2, 1, 1)
    """
    return tuple(sum(row > column for row in partition) for column in range(partition[0]))


def standard_tableaux(partition: Partition) -> list[tuple[int, ...]]:
    """The standard Young tableaux of a shape, each given by the rows of the numbers 0 … n − 1.

    Numbers grow along rows and columns, so the rows determine the tableau.

    >>> standard_tableaux((2, 1))
    [(0, 0, 1), (0, 1, 0)]
    """

    def grow(rows: tuple[int, ...], filled: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        if filled == partition:
            yield rows
        for row, length in enumerate(partition):
            if filled[row] < length and (row == 0 or filled[row] < filled[row - 1]):
                longer = (*filled[:row], filled[row] + 1, *filled[row + 1 :])
                yield from grow((*rows, row), longer)

    return list(grow((), (0,) * len(partition)))


def _contents(rows: tuple[int, ...]) -> list[int]:
    """Column minus row of each number."""
    filled: dict[int, int] = {}
    contents = []
    for row in rows:
        contents.append(filled.get(row, 0) - row)
        filled[row] = filled.get(row, 0) + 1
    return contents


def swap_matrices(partition: Partition) -> Float[np.ndarray, "swap d d"]:
    """The matrices of the swaps (i i+1) of neighbours in Young's orthogonal form.

    With r the difference of the contents of i + 1 and i in a tableau t, the swap maps t to t / r +
    √(1 − 1/r²) t', where t' is t with i and i + 1 exchanged.

    Source: James and Kerber 1981, The Representation Theory of the Symmetric Group, section 3.3.
    """
    tableaux = standard_tableaux(partition)
    index_of = {rows: index for index, rows in enumerate(tableaux)}
    n, d = sum(partition), len(tableaux)
    swaps = np.zeros((n - 1, d, d))
    for index, rows in enumerate(tableaux):
        contents = _contents(rows)
        for i in range(n - 1):
            distance = contents[i + 1] - contents[i]
            swaps[i, index, index] = 1 / distance
            exchanged = (*rows[:i], rows[i + 1], rows[i], *rows[i + 2 :])
            if abs(distance) > 1:
                swaps[i, index_of[exchanged], index] = sqrt(1 - 1 / distance**2)
    return swaps


def young_orthogonal(
    partition: Partition, moved: Integer[np.ndarray, "order n"]
) -> Float[np.ndarray, "order d d"]:
    """The irreducible representation of a partition, for permutations composed from the left.

    Args:
        partition: a partition of n.
        moved: all n! permutations in lexicographic order, as rows of images; a·b applies a first.
    """
    n = moved.shape[1]
    swaps = swap_matrices(partition)
    d = swaps.shape[1] if n > 1 else 1
    matrices = np.empty((len(moved), d, d))
    matrices[0] = np.eye(d)
    row_of = {tuple(images): row for row, images in enumerate(moved.tolist())}
    for row, images in enumerate(moved.tolist()):
        # Undoing a descent i gives an earlier permutation in lexicographic order.
        i = next((i for i in range(n - 1) if images[i] > images[i + 1]), None)
        if i is not None:
            earlier = [*images[:i], images[i + 1], images[i], *images[i + 2 :]]
            matrices[row] = swaps[i] @ matrices[row_of[tuple(earlier)]]
    return matrices
