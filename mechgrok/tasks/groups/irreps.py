"""Irreducible representations of finite groups, in closed form or numerical, and checked.

A representation maps every element g to a matrix ρ(g) with ρ(a·b) = ρ(a) ρ(b). All matrices here
are unitary, and orthogonal if real. Of two complex conjugate representations only the first is
listed (``paired``), as a frequency k also stands for p − k.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import product

import numpy as np
from jaxtyping import Complex, Float, Integer, Num

from mechgrok.tasks.groups import families
from mechgrok.tasks.groups.group import Group
from mechgrok.tasks.groups.tableaux import conjugate, partitions, young_orthogonal

#: Tolerance for rounding errors.
_ROUNDING = 1e-8


@dataclass(frozen=True, eq=False)
class Irrep:
    """An irreducible representation.

    Attributes:
        name: trivial, sign, standard; a partition such as 3+2; a frequency such as 4; or its
            dimension with a letter.
        matrices: ρ(g) for every element g.
        paired: whether it also stands for its complex conjugate, a different representation.
    """

    name: str
    matrices: Num[np.ndarray, "n d d"] = field(repr=False)
    paired: bool = False

    @property
    def dimension(self) -> int:
        """d, the rows of each matrix."""
        return self.matrices.shape[1]

    @property
    def character(self) -> Num[np.ndarray, " n"]:
        """χ(g) = tr ρ(g)."""
        return self.matrices.trace(axis1=1, axis2=2)


def irreps_of(group: Group) -> tuple[Irrep, ...]:
    """The irreducible representations of a group, the trivial one first.

    Frequencies for Cₙ; rotations and reflections for Dₙ; Young's orthogonal form for Sₙ and,
    restricted, for Aₙ; Kronecker products for direct products; and for any other group a
    decomposition of its regular representation.

    >>> from mechgrok.tasks.groups.families import named
    >>> [(irrep.name, irrep.dimension) for irrep in irreps_of(named("S4"))]
    [('trivial', 1), ('sign', 1), ('standard', 3), ('standard-sign', 3), ('2+2', 2)]

    Raises:
        ArithmeticError: the set is incomplete, which is a bug.
    """
    irreps = _of_families(group.family) if group.family else tuple(decomposed(group))
    check(group, irreps)
    return irreps


@cache
def _of_families(parts: tuple[str, ...]) -> tuple[Irrep, ...]:
    first, *rest = (_of_family(part) for part in parts)
    for other in rest:
        first = _of_product(first, other)
    return tuple(first)


def _of_family(name: str) -> list[Irrep]:
    n = int(name[1:])
    if name[0] == "C":
        return list(_cyclic(n))
    if name[0] == "D":
        return list(_dihedral(n))
    if name[0] == "S":
        return list(_symmetric(n))
    if name[0] == "A":
        return list(_alternating(n))
    return list(decomposed(families.named(name)))


def check(group: Group, irreps: Sequence[Irrep]) -> None:
    """Check that representations are irreducible, different homomorphisms and a complete set.

    ρ(a·g) = ρ(a) ρ(g) for all a and generators g; ⟨χ, χ'⟩ = Σ_g χ(g) χ'(g)* / n is 1 for χ = χ',
    else 0; Σ d² = n.

    Raises:
        ArithmeticError: a check fails.
    """
    for irrep in irreps:
        for g in group.generators:
            wrong = irrep.matrices[group.table[:, g]] - irrep.matrices @ irrep.matrices[g]
            if np.abs(wrong).max() > _ROUNDING * group.order:
                raise ArithmeticError(f"{irrep.name} of {group.name} is not a homomorphism.")
    characters = np.array([chi for irrep in irreps for chi in _characters(irrep)])
    inner = characters @ characters.conj().T / group.order
    if not np.allclose(inner, np.eye(len(inner)), atol=1e-6):
        raise ArithmeticError(f"Representations of {group.name} are reducible or the same.")
    if round((np.abs(characters[:, group.identity]) ** 2).sum()) != group.order:
        raise ArithmeticError(f"Representations of {group.name} are missing.")


def _characters(irrep: Irrep) -> list[Num[np.ndarray, " n"]]:
    chi = irrep.character
    return [chi, chi.conj()] if irrep.paired else [chi]


# --- cyclic and dihedral ------------------------------------------------------------------------


def _cyclic(n: int) -> Iterator[Irrep]:
    """exp(2πi k g / n) for k = 0 … ⌊n/2⌋."""
    for k in range(n // 2 + 1):
        wave = np.exp(2j * np.pi * k * np.arange(n) / n)[:, None, None]
        real = k == 0 or 2 * k == n
        yield Irrep(str(k) if k else "trivial", np.real(wave).round() if real else wave, not real)


def _dihedral(n: int) -> Iterator[Irrep]:
    """Signs of rᵏ and of s, and rotations by 2πk/n with reflections, k = 1 … below n/2."""
    k, t = np.tile(np.arange(n), 2), np.repeat([0, 1], n)
    signs = {"trivial": 0 * k, "sign": t}
    if n % 2 == 0:
        signs |= {"sign-r": k, "sign-rs": k + t}
    for name, exponent in signs.items():
        yield Irrep(name, (1.0 - 2 * (exponent % 2))[:, None, None])
    for frequency in range(1, (n + 1) // 2):
        angle = 2 * np.pi * frequency * k / n
        cos, sin, mirrored = np.cos(angle), np.sin(angle), 1 - 2 * t
        matrices = np.stack([np.stack([cos, -sin * mirrored]), np.stack([sin, cos * mirrored])])
        yield Irrep(str(frequency), matrices.transpose(2, 0, 1))


# --- permutations -------------------------------------------------------------------------------

#: Common names of representations of Sₙ.
_NAMES = ("trivial", "sign", "standard", "standard-sign")


def _named_partitions(n: int) -> dict[tuple[int, ...], str]:
    """The partitions of n, which label representations of Sₙ, and their names, in order."""
    special = [(n,), (1,) * n, (n - 1, 1), (2,) + (1,) * (n - 2)]
    known: dict[tuple[int, ...], str] = {}
    for partition, name in zip(special[: 4 if n > 2 else 2], _NAMES, strict=False):
        known.setdefault(partition, name)
    return known | {p: "+".join(map(str, p)) for p in partitions(n) if p not in known}


def _symmetric(n: int) -> Iterator[Irrep]:
    moved = families.permutations_of(n)
    for partition, name in _named_partitions(n).items():
        yield Irrep(name, young_orthogonal(partition, moved))


def _alternating(n: int) -> Iterator[Irrep]:
    """Representations of Sₙ restricted to even permutations.

    One of each conjugate pair λ, λ' of partitions; for λ = λ', two halves.
    """
    moved = families.permutations_of(n)
    even = (families.permutations_of(n, even=True) @ n ** np.arange(n)).tolist()
    row_of = {code: row for row, code in enumerate((moved @ n ** np.arange(n)).tolist())}
    rows = np.array([row_of[code] for code in even])
    visited = set()
    for partition, name in _named_partitions(n).items():
        if conjugate(partition) in visited or (n < 2 and partition != (n,)):
            continue
        visited.add(partition)
        matrices = young_orthogonal(partition, moved)
        if conjugate(partition) != partition or n < 2:
            yield Irrep(name, matrices[rows])
            continue
        yield from _halves(name, matrices, rows)


def _halves(
    name: str, matrices: Float[np.ndarray, "n d d"], rows: Integer[np.ndarray, " even"]
) -> Iterator[Irrep]:
    """The two parts, on even elements, of a representation equivalent to its product with the sign.

    They are the eigenspaces of T = Σ_g sgn(g) ρ(g) X ρ(g)ᵀ with a random X, which commutes with the
    even elements and anticommutes with the odd ones.
    """
    sign = -np.ones(len(matrices))
    sign[rows] = 1
    random = np.random.default_rng(0).standard_normal(matrices.shape[1:])
    mixed = np.einsum("g,gij,jk,glk->il", sign, matrices, random, matrices, optimize=True)
    symmetric, skew = mixed + mixed.T, mixed - mixed.T
    # T² is a multiple of 1, so one of the two is only rounding errors.
    real = np.abs(symmetric).max() > np.abs(skew).max()
    values, vectors = np.linalg.eigh(symmetric if real else 1j * skew)
    sides = [vectors[:, values > 0], vectors[:, values < 0]]
    halves = [side.conj().T @ matrices[rows] @ side for side in sides]
    if real:
        yield from (Irrep(f"{name}{mark}", half) for mark, half in zip("ab", halves, strict=True))
    else:
        yield Irrep(name, halves[0], paired=True)


# --- products -----------------------------------------------------------------------------------


def _of_product(first: Sequence[Irrep], second: Sequence[Irrep]) -> list[Irrep]:
    """ρ ⊗ σ for all ρ and σ; if both have conjugates, ρ ⊗ σ and ρ ⊗ σ* are different."""
    irreps = []
    for left, right in product(first, second):
        both = [(right, f"{left.name} x {right.name}")]
        if left.paired and right.paired:
            other = replace(right, matrices=right.matrices.conj())
            both.append((other, f"{left.name} x {right.name}*"))
        for irrep, name in both:
            matrices = np.einsum("gij,hkl->ghikjl", left.matrices, irrep.matrices)
            n, d = len(left.matrices) * len(irrep.matrices), left.dimension * irrep.dimension
            trivial = left.name == irrep.name == "trivial"
            irreps.append(
                Irrep(
                    "trivial" if trivial else name,
                    matrices.reshape(n, d, d),
                    left.paired or right.paired,
                )
            )
    return irreps


# --- any group ----------------------------------------------------------------------------------


def decomposed(group: Group) -> list[Irrep]:
    """The irreducible representations of any group, from its regular representation.

    The matrices that commute with all left multiplications are linear combinations of right
    multiplications. A random Hermitian one has, for each of the d copies of a representation ρ, an
    eigenspace of dimension d on which ρ acts; eigenvalues of different copies differ with
    probability 1.

    Source: the idea of Dixon 1970 (Math. Comp. 24, 707), with random matrices.

    Raises:
        ArithmeticError: eigenvalues are too close to distinguish in ten random matrices.
    """
    for seed in range(10):
        spaces = _eigenspaces(group, np.random.default_rng(seed))
        irreps = _different(_acting_on(group, space) for space in spaces)
        total = sum(len(_characters(irrep)) * irrep.dimension**2 for irrep in irreps)
        if total == group.order:
            return _lettered(irreps)
    raise ArithmeticError(f"The regular representation of {group.name} was not decomposed.")


def _eigenspaces(group: Group, random: np.random.Generator) -> list[Complex[np.ndarray, "n d"]]:
    n = group.order
    weight = random.standard_normal(n) + 1j * random.standard_normal(n)
    # Row x, column y: the weight of g = x⁻¹·y; the sum with its adjoint is Hermitian.
    right = weight[group.table[group.inverse]]
    values, vectors = np.linalg.eigh(right + right.conj().T)
    edges = np.flatnonzero(np.diff(values) > 1e-7 * np.abs(values).max()) + 1
    return np.split(vectors, edges, axis=1)


def _acting_on(group: Group, space: Complex[np.ndarray, "n d"]) -> Irrep:
    """The action of left multiplication on an invariant space: ρ(g) f(x) = f(g⁻¹·x)."""
    moved = space[group.table[group.inverse]]  # [g, x, d]
    return Irrep("", np.einsum("xi,gxj->gij", space.conj(), moved))


def _different(irreps: Iterator[Irrep]) -> list[Irrep]:
    """One representation of each equivalence class and of each pair of conjugates."""
    different: list[Irrep] = []
    known: list[Num[np.ndarray, " n"]] = []
    for irrep in irreps:
        chi = irrep.character
        n = len(chi)
        if abs(np.vdot(chi, chi) / n - 1) > 1e-6:
            continue  # The eigenvalues of two copies were too close.
        if any(abs(np.vdot(chi, other)) > n / 2 for other in known):
            continue
        paired = bool(np.abs(np.imag(chi)).max() > 1e-6)
        known += [chi, chi.conj()] if paired else [chi]
        different.append(replace(irrep, paired=paired))
    return different


def _lettered(irreps: list[Irrep]) -> list[Irrep]:
    """Sort and name representations by dimension: trivial, 1b, 1c, 2a …."""

    def key(irrep: Irrep) -> tuple:
        chi = irrep.character
        return (
            irrep.dimension,
            irrep.paired,
            tuple(-np.real(chi).round(6)),
            tuple(np.imag(chi).round(6)),
        )

    named: list[Irrep] = []
    counts: dict[int, int] = {}
    for irrep in sorted(irreps, key=key):
        d = irrep.dimension
        counts[d] = counts.get(d, 0) + 1
        trivial = not named
        name = "trivial" if trivial else f"{d}{_letters(counts[d])}"
        named.append(replace(irrep, name=name))
    return named


def _letters(number: int) -> str:
    """1 is a, 26 is z, 27 is aa."""
    letters = ""
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("a") + rest) + letters
    return letters
