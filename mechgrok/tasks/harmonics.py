"""Harmonic parts of functions on a task's elements: waves, or representations of a group.

A function of residues is a sum of waves, one part for each frequency ω. A function of the elements
of a group is a sum of entries of the matrices ρ(g), one part for each irreducible representation ρ:
the Fourier transform on a group, commutative or not. Waves are the case of a cyclic group. All
analyses of frequencies use the common interface `Harmonics`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor

from mechgrok.errors import UserError, choices, near
from mechgrok.global_state import in_neutral_state
from mechgrok.tasks.groups.composition import GroupComposition
from mechgrok.tasks.groups.irreps import Irrep, irreps_of
from mechgrok.tasks.residues import OrderOption, not_modular, residues

if TYPE_CHECKING:
    from mechgrok.tasks.base import Task
    from mechgrok.tasks.groups.group import Group


class Harmonics(ABC):
    """A shift-invariant orthogonal decomposition of the functions on n elements.

    Part 0 is the constants.

    Attributes:
        kind: the name of a part: "frequency" or "representation".
        symbol: its symbol in formulas.
        tokens: the elements in the order of signals.
        names: the parts' names.
        difference: the position of s·c⁻¹ (s − c for residues) in row s and column c.
    """

    kind: ClassVar[str]
    symbol: ClassVar[str]
    tokens: Integer[Tensor, " n"]
    names: tuple[str, ...]
    difference: Integer[Tensor, "n n"]

    @property
    def n(self) -> int:
        """The number of elements."""
        return len(self.tokens)

    @abstractmethod
    def basis(self, part: int) -> Float[Tensor, "n m"]:
        """Orthonormal functions that span a part, as columns."""

    def functions(self, parts: Sequence[int]) -> Float[Tensor, "n m"]:
        """Orthonormal functions that span several parts, as columns."""
        empty = torch.zeros(self.n, 0, dtype=torch.float64)
        return torch.cat([empty, *(self.basis(part) for part in parts)], dim=1)

    @cached_property
    def every(self) -> Float[Tensor, "n n"]:
        """Orthonormal functions that span all parts, ordered by part, as columns."""
        return self.functions(range(len(self.names)))

    @cached_property
    def part_of(self) -> Integer[Tensor, " n"]:
        """The part of each column of `every`."""
        sizes = [self.basis(part).shape[1] for part in range(len(self.names))]
        return torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))

    def pair_power(self, grid: Float[Tensor, "*rest n n"]) -> Float[Tensor, "*rest part part"]:
        """Σ f(a, b)² of a function of two elements, by pairs of parts.

        The products u(a) v(b), with u in one part and v in another, span a shift-invariant block.
        The blocks add up to Σ f².
        """
        every = self.every.to(grid.dtype)
        squares = (every.T @ grid @ every).square()
        member = torch.nn.functional.one_hot(self.part_of, len(self.names)).to(grid.dtype)
        return member.T @ squares @ member

    @cached_property
    @abstractmethod
    def counted(self) -> Float[Tensor, " part"]:
        """The number of complex parts in each part: 2 if it includes its conjugate, else 1."""

    @cached_property
    @abstractmethod
    def characters(self) -> Float[Tensor, "part n"]:
        """Re χ(g) for every element: cos(2π k g / n) for waves, Re tr ρ(g) for representations."""

    @abstractmethod
    def amplitude(self, signal: Float[Tensor, "*rest n"]) -> Float[Tensor, "*rest part"]:
        """The amplitude of each part in signals over the ordered elements."""

    def power_share(self, amplitude: Float[Tensor, "*rest part"]) -> Float[Tensor, "*rest part"]:
        """Share of a signal's variance in each part; 0 for the constants.

        By Plancherel's theorem the variance is proportional to Σ counted · amplitude² over all
        parts but the first. A constant signal gives NaN.
        """
        return variance_shares(amplitude, self.counted)

    @cached_property
    def of_noise(self) -> Float[Tensor, " part"]:
        """The expected share of each part in the variance of white noise: that of its dimension."""
        sizes = self.counted * self.characters[:, self._identity].square()
        sizes[0] = 0
        return sizes / sizes.sum().clamp(min=1)

    @property
    def noise_amplitude(self) -> Float[Tensor, " part"]:
        """The amplitudes of white noise up to a factor: equal for waves, d for representations."""
        return (self.of_noise / self.counted).sqrt()

    @property
    def _identity(self) -> int:
        return int(self.difference[0, 0])

    def numbered(self, parts: Sequence[int | str]) -> list[int]:
        """The numbers of parts, given by number or name.

        Raises:
            UserError: a part is unknown, or is part 0.
        """
        return [self._index(part) for part in parts]

    def parse(self, text: str) -> list[int]:
        """The numbers of parts joined with plus signs, which names may contain: ``sign+3+1+1``.

        Raises:
            UserError: a part is unknown, or is part 0.

        >>> from mechgrok.tasks import make_task
        >>> harmonics(make_task("group", group="S5")).parse("sign+3+1+1")
        [1, 5]
        """
        pieces, parts = text.split("+"), []
        while pieces:
            longest_first = range(len(pieces), 0, -1)
            fits = (end for end in longest_first if "+".join(pieces[:end]) in self.names)
            end = next(fits, 1)
            parts.append("+".join(pieces[:end]))
            pieces = pieces[end:]
        return self.numbered(parts)

    def _index(self, part: int | str) -> int:
        if isinstance(part, str):
            known = {name: index for index, name in enumerate(self.names) if index}
            if part not in known and part.isdecimal():
                return self._index(int(part[:9]))
            if part not in known:
                raise UserError(f"There is no {self.kind} {part!r}: choose {choices(known)}.")
            return known[part]
        if not 0 < part < len(self.names):
            raise UserError(
                f"{part} is not a {self.kind} of {self}: choose from 1 to {len(self.names) - 1}."
            )
        return part


def variance_shares(
    amplitude: Float[Tensor, "*rest part"], counted: Float[Tensor, " part"]
) -> Float[Tensor, "*rest part"]:
    """counted · amplitude² over their sum without part 0; NaN for a constant signal."""
    power = amplitude.square()
    # Rounding errors of a constant signal do not count.
    rounding = (4 * torch.finfo(power.dtype).eps) ** 2 * power[..., :1]
    power = power * counted.to(power.dtype)
    power[..., 0] = 0
    variance = power.sum(-1, keepdim=True)
    return power / variance.masked_fill(variance <= rounding, torch.nan)


class Waves(Harmonics):
    """Waves over residues in the order in which a task is a shift; ω = 0 … ⌊n/2⌋.

    >>> waves = Waves(torch.arange(8))
    >>> x = torch.arange(8)
    >>> waves.amplitude(1 + torch.cos(2 * torch.pi * 3 * x / 8)).round(decimals=3)
    tensor([8., 0., 0., 4., 0.])
    """

    kind = "frequency"
    symbol = "ω"

    def __init__(self, tokens: Integer[Tensor, " n"]) -> None:
        n = len(tokens)
        self.tokens = tokens
        self.names = tuple(map(str, range(n // 2 + 1)))
        self.difference = (torch.arange(n)[:, None] - torch.arange(n)) % n

    def __str__(self) -> str:
        return f"{self.n} residues"

    @cached_property
    def counted(self) -> Float[Tensor, " part"]:
        k = torch.arange(len(self.names))
        return torch.where((k == 0) | (2 * k == self.n), 1.0, 2.0)

    def basis(self, part: int) -> Float[Tensor, "n m"]:
        angle = 2 * torch.pi * part * torch.arange(self.n, dtype=torch.float64) / self.n
        # At n/2 the sine is zero everywhere, as at 0.
        both = torch.stack([angle.cos(), angle.sin()][: int(self.counted[part])], dim=1)
        return both / both.norm(dim=0)

    @cached_property
    def characters(self) -> Float[Tensor, "part n"]:
        k = torch.arange(len(self.names), dtype=torch.float64)
        return (2 * torch.pi * k[:, None] * torch.arange(self.n) / self.n).cos()

    def amplitude(self, signal: Float[Tensor, "*rest n"]) -> Float[Tensor, "*rest part"]:
        return torch.fft.rfft(signal, dim=-1).abs()


class FourierBasis(NamedTuple):
    """The real Fourier basis over the residues modulo p.

    Attributes:
        functions: orthonormal functions, one per row.
        names: their names: const, cos 1, sin 1, cos 2, …; for even p the last is a cosine.
    """

    functions: Float[Tensor, "function p"]
    names: tuple[str, ...]


@in_neutral_state
def fourier_basis(p: int) -> FourierBasis:
    """The orthonormal functions 1, cos(2πkx/p) and sin(2πkx/p) of x = 0 … p − 1, as rows.

    ``basis @ W_E`` is an embedding in the Fourier basis, one row per function; ``basis.T @`` is its
    inverse, and ``W @ basis.T`` transforms the last axis. Order and names follow Nanda et al. 2023
    (arXiv 2301.05217).

    Args:
        p: the number of residues.

    Returns:
        ``functions [function, p]`` in float32, the weights' type, and their ``names``.

    Raises:
        UserError: p is below 1.

    >>> basis, names = fourier_basis(5)
    >>> names
    ('const', 'cos 1', 'sin 1', 'cos 2', 'sin 2')
    >>> x = torch.arange(5)
    >>> (basis @ torch.sin(2 * torch.pi * 2 * x / 5)).abs().round(decimals=3)
    tensor([0.0000, 0.0000, 0.0000, 0.0000, 1.5810])
    """
    if p < 1:
        raise UserError(f"There are no functions on {p} residues: choose a p of at least 1.")
    waves = Waves(torch.arange(p))
    functions = waves.functions(range(len(waves.names))).T
    names = [
        f"{wave} {k}"
        for k, counted in enumerate(waves.counted.int().tolist())
        for wave in ("cos", "sin")[:counted]
    ]
    return FourierBasis(functions.float(), ("const", *names[1:]))


class FourierBasis2D(NamedTuple):
    """The real Fourier basis over pairs (a, b) of residues modulo p.

    Attributes:
        functions: orthonormal functions of a (rows) and b (columns).
        names: their names: const, cos 1b, sin 1b, …, cos 1a, cos 1a cos 1b, …
    """

    functions: Float[Tensor, "function p p"]
    names: tuple[str, ...]


@in_neutral_state
def fourier_basis_2d(p: int, terms: Sequence[str] | None = None) -> FourierBasis2D:
    """The products u(a) v(b) of the functions u, v of `fourier_basis`, by name.

    Term i p + j is function i of a times function j of b, as in `fft2d`.

    Args:
        p: the number of residues.
        terms: names of the terms, such as "cos 2a" or "cos 2a sin 2b"; default: all p², which are
            p⁴ numbers (0.6 GB for p = 113).

    Returns:
        ``functions [function, p, p]`` in float32, and their ``names``.

    Raises:
        UserError: p is below 1, or there is no such term.

    >>> fourier_basis_2d(3).names
    ('const', 'cos 1b', 'sin 1b', 'cos 1a', 'cos 1a cos 1b', 'cos 1a sin 1b', 'sin 1a', \
'sin 1a cos 1b', 'sin 1a sin 1b')
    >>> fourier_basis_2d(7, ["cos 2a cos 2b", "sin 2a sin 2b"]).functions.shape
    torch.Size([2, 7, 7])
    """
    functions, names = fourier_basis(p)
    known = {term_name(a, b): (i, j) for i, a in enumerate(names) for j, b in enumerate(names)}
    chosen = list(known) if terms is None else list(terms)
    if unknown := [term for term in chosen if term not in known]:
        raise UserError(
            f"There is no term {unknown[0]!r} modulo {p}{near(unknown[0], known)}: write one like "
            "'const', 'cos 1a' or 'cos 1a sin 1b'."
        )
    of_a, of_b = torch.tensor([known[term] for term in chosen]).reshape(-1, 2).T
    return FourierBasis2D(functions[of_a, :, None] * functions[of_b, None, :], tuple(chosen))


def term_name(of_a: str, of_b: str) -> str:
    """The name of a product of a function of a and one of b, as in `fourier_basis`.

    >>> term_name("cos 2", "sin 1"), term_name("const", "sin 1"), term_name("const", "const")
    ('cos 2a sin 1b', 'sin 1b', 'const')
    """
    parts = [f"{name}{operand}" for name, operand in ((of_a, "a"), (of_b, "b")) if name != "const"]
    return " ".join(parts) or "const"


@in_neutral_state
def fft2d(tensor: Float[Tensor, "p p *rest"]) -> Float[Tensor, "p p *rest"]:
    """The coefficients of a function of (a, b) in `fourier_basis_2d`.

    Entry [i, j] is the coefficient of function i of a times function j of b, both numbered as in
    `fourier_basis`. The sum of squares is the same before and after. Source: Nanda et al. 2023
    (arXiv 2301.05217).

    Args:
        tensor: values at a (first axis) and b (second axis); further axes, such as neurons or
            logits, are transformed independently.

    Raises:
        UserError: the first two axes are not equally long.

    >>> x = 2 * torch.pi * torch.arange(5) / 5
    >>> of = fft2d(torch.cos(2 * x)[:, None] * torch.sin(x))
    >>> names = fourier_basis(5).names
    >>> float(of[names.index("cos 2"), names.index("sin 1")].round(decimals=3))
    2.5
    """
    if tensor.ndim < 2 or tensor.shape[0] != tensor.shape[1]:
        raise UserError(
            f"A tensor of shape {list(tensor.shape)} is not a function of all pairs (a, b): "
            "reshape it to [p, p, …]."
        )
    basis = fourier_basis(len(tensor)).functions.to(tensor)
    return torch.einsum("ia,jb,ab...->ij...", basis, basis, tensor)


class Representations(Harmonics):
    """The irreducible representations of a group, each paired with its conjugate.

    >>> from mechgrok.tasks.groups.families import named
    >>> s3 = Representations(named("S3"))
    >>> sign = torch.tensor([1.0, -1, -1, 1, 1, -1])
    >>> s3.names, s3.power_share(s3.amplitude(2 + sign)).round(decimals=3)
    (('trivial', 'sign', 'standard'), tensor([0., 1., 0.]))
    """

    kind = "representation"
    symbol = "ρ"

    def __init__(self, group: Group) -> None:
        self.group = group
        self.irreps: tuple[Irrep, ...] = irreps_of(group)
        self.tokens = torch.arange(group.order)
        self.names = tuple(irrep.name for irrep in self.irreps)
        self.difference = torch.from_numpy(group.table[:, group.inverse])
        self._bases = [_orthonormal(irrep) for irrep in self.irreps]

    @cached_property
    def counted(self) -> Float[Tensor, " part"]:
        return torch.tensor([2.0 if irrep.paired else 1.0 for irrep in self.irreps])

    def basis(self, part: int) -> Float[Tensor, "n m"]:
        return self._bases[part]

    @cached_property
    def characters(self) -> Float[Tensor, "part n"]:
        return torch.stack([torch.from_numpy(np.real(irrep.character)) for irrep in self.irreps])

    def amplitude(self, signal: Float[Tensor, "*rest n"]) -> Float[Tensor, "*rest part"]:
        squares = (signal @ self.every.to(signal.dtype)).square()
        power = signal.new_zeros(*signal.shape[:-1], len(self.names))
        power.index_add_(-1, self.part_of, squares)
        return (power * self.n / self.counted.to(power.dtype)).sqrt()

    def __str__(self) -> str:
        return self.group.name


def _orthonormal(irrep: Irrep) -> Float[Tensor, "n m"]:
    """Real orthonormal functions that span the entries of ρ(g) and of its conjugate.

    Entries of unitary matrices are orthogonal with mean square 1/d (Schur). So real entries times
    √(d/n) are orthonormal, and so are real and imaginary parts of a pair's entries times √(2d/n).
    For other complex entries, the real and imaginary parts are linearly dependent.
    """
    n, d = len(irrep.matrices), irrep.dimension
    entries = torch.from_numpy(irrep.matrices).reshape(n, d * d)
    if not entries.is_complex():
        return entries * (d / n) ** 0.5
    both = torch.cat([entries.real, entries.imag], dim=1) * (2 * d / n) ** 0.5
    if irrep.paired:
        return both
    return torch.linalg.svd(both, full_matrices=False).U[:, : d * d]


def no_harmonics(task: Task) -> str | None:
    """The reason why a task has no harmonics; None if it has.

    >>> from mechgrok.tasks import make_task
    >>> print(no_harmonics(make_task("group")), no_harmonics(make_task("add")))
    None None
    >>> no_harmonics(make_task("parity"))
    'parity of 3 out of 40 bits is not modular arithmetic.'
    """
    # A group of two elements may have one output, which `not_modular` explains.
    return None if isinstance(task, GroupComposition) and task.d_output > 1 else not_modular(task)


def harmonics(task: Task, order: OrderOption = "auto") -> Harmonics:
    """The harmonics of a task: waves for residues and cyclic groups, else representations.

    Args:
        task: a task for which `no_harmonics` is None.
        order: the order of residues (`mechgrok.tasks.residues.residues`), not of groups.

    Raises:
        UserError: the order is multiplicative, and the task is not a product modulo a prime.

    >>> from mechgrok.tasks import make_task
    >>> harmonics(make_task("add", p=7)).names, harmonics(make_task("group", group="S3")).names
    (('0', '1', '2', '3'), ('trivial', 'sign', 'standard'))
    """
    return _harmonics(cast(Hashable, task), order)  # Frozen models are hashable.


@cache
def _harmonics(task: Any, order: OrderOption) -> Harmonics:
    if not isinstance(task, GroupComposition) or task.modular:
        return Waves(residues(task, order))
    if order == "multiplicative":
        raise UserError(f"{task} is not a product of residues: omit --order.")
    return Representations(task.structure)
