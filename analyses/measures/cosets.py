"""Find the subgroups on whose cosets functions on a group are (nearly) constant."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Integer

from mechgrok.tasks.groups.group import Group

#: Smallest correlation of a function with its shift for the shift to count as a symmetry.
_MIN_CORRELATION = 0.5


class CosetStructure(NamedTuple):
    """The largest subgroup on whose cosets each function is nearly constant.

    Attributes:
        order: the subgroup's order; 1 for the trivial subgroup.
        concentration: the share of the function's variance between cosets.
        left: whether the cosets are left cosets gH, or right cosets Hg.

    >>> CosetStructure(np.array([12]), np.array([1.0]), np.array([True])).order.tolist()
    [12]
    """

    order: Integer[np.ndarray, " function"]
    concentration: Float[np.ndarray, " function"]
    left: Bool[np.ndarray, " function"]


def subgroup(table: Integer[np.ndarray, "n n"], elements: Integer[np.ndarray, " m"]) -> np.ndarray:
    """The elements of the generated subgroup, in order.

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
    """1 − (variance within cosets) / (variance): 1 for a function constant on each coset.

    This is the share of variance between cosets; (k − 1)/(n − 1) on average for white noise over k
    cosets, NaN for a constant function. Stander et al. 2023 (arXiv 2312.06581) use the ratio of
    the sum of the variances within to the variance, which is near 0 when this is near 1.

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
    """The left cosets gH, or the right cosets Hg, of a subgroup H, one per row.

    >>> from mechgrok.tasks.groups.families import named
    >>> cosets_of(named("C6"), np.array([0, 3]), left=True).tolist()
    [[0, 3], [1, 4], [2, 5]]
    """
    cosets = group.table[:, members] if left else group.table[members].T
    first = np.unique(cosets.min(1), return_index=True)[1]
    return cosets[first]


def coset_structure(
    group: Group, functions: Float[np.ndarray, "n function"], level: float = 0.95
) -> CosetStructure:
    """The largest subgroup whose cosets explain ``level`` of each function's variance.

    A function constant on the cosets gH is invariant under shifts by any h in H: f(g h) = f(g).
    The search therefore needs no list of subgroups: the shifts with the largest correlation
    ⟨f(· h), f⟩ / ‖f‖² generate ever larger subgroups, conjugates included, and the result is the
    last one that reaches the level.

    Source: Stander et al. 2023 (arXiv 2312.06581), who enumerate all subgroups of S₅ and S₆.

    >>> from mechgrok.tasks.groups.families import named
    >>> s4 = named("S4")
    >>> third = np.array([[float(name[2])] for name in s4.elements])
    >>> found = coset_structure(s4, third)
    >>> found.order, found.left
    (array([6]), array([False]))
    """
    centred = functions - functions.mean(0)
    norms = (centred**2).sum(0)
    best = [_Candidate(1, 1.0, True)] * functions.shape[1]
    for left in (True, False):
        shifts = group.table.T if left else group.table
        correlation = np.stack([(centred[shift] * centred).sum(0) for shift in shifts])
        correlation /= np.where(norms > 0, norms, np.inf)
        for at in range(functions.shape[1]):
            candidate = _largest(group, functions[:, [at]], correlation[:, at], left, level)
            if candidate is not None and candidate.order > best[at].order:
                best[at] = candidate
    order, shares, are_left = zip(*best, strict=True)
    constant = ~np.isfinite(concentration(functions, np.arange(group.order)[:, None]))
    return CosetStructure(
        np.where(constant, group.order, np.array(order)),
        np.where(constant, np.nan, np.array(shares)),
        np.array(are_left),
    )


class _Candidate(NamedTuple):
    order: int
    concentration: float
    left: bool


def _largest(
    group: Group,
    function: Float[np.ndarray, "n 1"],
    correlation: Float[np.ndarray, " n"],
    left: bool,
    level: float,
) -> _Candidate | None:
    """The largest subgroup, generated by the most symmetric shifts, that reaches the level."""
    best, members = None, np.array([group.identity])
    for h in np.argsort(-correlation, kind="stable"):
        if correlation[h] < _MIN_CORRELATION:
            break
        if h in members:
            continue
        members = subgroup(group.table, np.append(members, h))
        if len(members) == group.order:
            break
        share = float(concentration(function, cosets_of(group, members, left=left))[0])
        if share < level:
            break
        best = _Candidate(len(members), share, left)
    return best
