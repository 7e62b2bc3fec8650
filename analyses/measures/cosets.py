"""On the cosets of which subgroup is a function on a group (nearly) constant?"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Integer

from mechgrok.tasks.groups.group import Group

#: How alike a function and its shift must be for the shift to be tried as a symmetry.
_ALIKE = 0.5


class CosetStructure(NamedTuple):
    """The largest subgroup on whose cosets each function is constant, as far as asked for.

    Attributes:
        order: of the subgroup; 1, that of the trivial one, where no other will do.
        concentration: the share of the function's variance that lies between the cosets.
        left: whether they are the left cosets gH, or the right ones Hg.

    >>> CosetStructure(np.array([12]), np.array([1.0]), np.array([True])).order.tolist()
    [12]
    """

    order: Integer[np.ndarray, " function"]
    concentration: Float[np.ndarray, " function"]
    left: Bool[np.ndarray, " function"]


def subgroup(table: Integer[np.ndarray, "n n"], elements: Integer[np.ndarray, " m"]) -> np.ndarray:
    """The elements of the subgroup that some elements generate, in order.

    >>> table = np.add.outer(np.arange(12), np.arange(12)) % 12
    >>> subgroup(table, np.array([8])).tolist()
    [0, 4, 8]
    """
    inside = np.zeros(len(table), dtype=bool)
    new = np.unique(elements)
    while len(new):
        inside[new] = True
        products = np.unique(table[np.flatnonzero(inside)[:, None], elements])
        new = products[~inside[products]]
    return np.flatnonzero(inside)


def concentration(
    functions: Float[np.ndarray, "n function"], cosets: Integer[np.ndarray, "coset m"]
) -> Float[np.ndarray, " function"]:
    """1 − (variance within cosets) / (variance): 1 for a function that is constant on each.

    The share that lies between them; (k − 1)/(n − 1) on average for white noise over k cosets. NaN
    for a constant function. Stander et al. 2023 (arXiv 2312.06581) look at the ratio of the sum of
    the variances within to the variance, which is near 0 where this is near 1.

    >>> f = np.array([[1.0], [5], [1], [5]])
    >>> concentration(f, np.array([[0, 2], [1, 3]])), concentration(f, np.array([[0, 1], [2, 3]]))
    (array([1.]), array([0.]))
    """
    centred = functions - functions.mean(0)
    total = (centred**2).sum(0)
    between = cosets.shape[1] * (centred[cosets].mean(1) ** 2).sum(0)
    varies = total > 1e-12 * (functions**2).sum(0)
    return np.divide(between, total, out=np.full(len(total), np.nan), where=varies)


def cosets_of(
    group: Group, members: Integer[np.ndarray, " m"], *, left: bool
) -> Integer[np.ndarray, "coset m"]:
    """The left cosets gH, or the right ones Hg, of a subgroup H, each in a row.

    >>> from mechgrok.tasks.groups.families import named
    >>> cosets_of(named("C6"), np.array([0, 3]), left=True).tolist()
    [[0, 3], [1, 4], [2, 5]]
    """
    every = group.table[:, members] if left else group.table[members].T
    first = np.unique(every.min(1), return_index=True)[1]
    return every[first]


def coset_structure(
    group: Group, functions: Float[np.ndarray, "n function"], level: float = 0.95
) -> CosetStructure:
    """The largest subgroup on whose cosets each function has ``level`` of its variance.

    A function that is constant on the cosets gH does not change as it is shifted by an element h of
    H: f(g h) = f(g). So no list of subgroups is needed: the shifts that f is most alike to (by
    ⟨f(· h), f⟩, over the squared norm) generate ever larger subgroups, conjugates among them, and
    the last one that still holds is taken.

    Source: Stander et al. 2023 (arXiv 2312.06581), who go through all subgroups of S₅ and S₆.

    >>> from mechgrok.tasks.groups.families import named
    >>> s4 = named("S4")
    >>> third = np.array([[float(name[2])] for name in s4.elements])
    >>> found = coset_structure(s4, third)
    >>> found.order, found.left
    (array([6]), array([False]))
    """
    centred = functions - functions.mean(0)
    norms = (centred**2).sum(0)
    found = [_Found(1, 1.0, True)] * functions.shape[1]
    for left in (True, False):
        shifts = group.table.T if left else group.table
        alike = np.stack([(centred[shift] * centred).sum(0) for shift in shifts])
        alike /= np.where(norms > 0, norms, np.inf)
        for at in range(functions.shape[1]):
            if (larger := _largest(group, functions[:, [at]], alike[:, at], left, level)) is None:
                continue
            if larger.order > found[at].order:
                found[at] = larger
    order, held, left_ones = zip(*found, strict=True)
    constant = ~np.isfinite(concentration(functions, np.arange(group.order)[:, None]))
    return CosetStructure(
        np.where(constant, group.order, np.array(order)),
        np.where(constant, np.nan, np.array(held)),
        np.array(left_ones),
    )


class _Found(NamedTuple):
    order: int
    concentration: float
    left: bool


def _largest(
    group: Group,
    function: Float[np.ndarray, "n 1"],
    alike: Float[np.ndarray, " n"],
    left: bool,
    level: float,
) -> _Found | None:
    """The largest of the subgroups that the most symmetric shifts generate, and that holds."""
    best, members = None, np.array([group.identity])
    for h in np.argsort(-alike, kind="stable"):
        if alike[h] < _ALIKE:
            break
        if h in members:
            continue
        members = subgroup(group.table, np.append(members, h))
        if len(members) == group.order:
            break
        held = float(concentration(function, cosets_of(group, members, left=left))[0])
        if held < level:
            break
        best = _Found(len(members), held, left)
    return best
