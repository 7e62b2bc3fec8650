"""Masks over weights: a value type with set algebra."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Num
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from mechgrok.errors import UserError
from mechgrok.files import check_plain, write_whole
from mechgrok.global_state import neutral_members
from mechgrok.notebooks import html_table

#: Whether scores are ranked over all weights together or within each weight.
Scope = Literal["global", "layer"]


@neutral_members
@dataclass(frozen=True, eq=False)
class Mask(Mapping[str, Bool[Tensor, "..."]]):
    """A boolean mask over some of a model's weights, by name; True entries are kept.

    Other weights are not masked. Masks over the same weights combine as sets: ``a & b``, ``a | b``,
    ``~a``, ``a == b``.

    Raises:
        UserError: a value is neither 0 nor 1.
    """

    kept: dict[str, Bool[Tensor, "..."]]

    def __post_init__(self) -> None:
        for name, entries in self.kept.items():
            if entries.dtype != torch.bool and not ((entries == 0) | (entries == 1)).all():
                raise UserError(f"The mask of {name} holds values other than 0 and 1.")
        # A copy of the caller's dictionary, so that the mask cannot change.
        object.__setattr__(
            self, "kept", {name: entries.bool() for name, entries in self.kept.items()}
        )

    def __getitem__(self, name: str) -> Bool[Tensor, "..."]:
        return self.kept[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.kept)

    def __len__(self) -> int:
        return len(self.kept)

    def __repr__(self) -> str:
        layers = ", ".join(f"{name} {density:.1%}" for name, density in self.densities.items())
        return f"Mask({self.density:.1%} kept: {layers})"

    def _repr_html_(self) -> str:
        rows = {
            name: [
                str(list(entries.shape)),
                f"{int(entries.sum()):,}",
                f"{self.densities[name]:.1%}",
            ]
            for name, entries in self.items()
        }
        rows["all"] = ["", f"{self.n_kept:,}", f"{self.density:.1%}"]
        return html_table("Mask", rows, ["shape", "kept", "density"])

    # --- density --------------------------------------------------------------------------------

    @property
    def n_kept(self) -> int:
        """The number of kept entries of all masked weights."""
        return sum(int(entries.sum()) for entries in self.kept.values())

    @property
    def n_entries(self) -> int:
        """The number of entries of all masked weights."""
        return sum(entries.numel() for entries in self.kept.values())

    @property
    def density(self) -> float:
        """Share of kept entries over all masked weights; 1 for an empty mask."""
        return self.n_kept / self.n_entries if self.n_entries else 1.0

    @property
    def densities(self) -> dict[str, float]:
        """Share of kept entries of each masked weight."""
        return {name: float(entries.double().mean()) for name, entries in self.kept.items()}

    # --- sets -----------------------------------------------------------------------------------

    def __and__(self, other: "Mask") -> "Mask":
        return Mask({name: a & b for name, a, b in self._pairs(other)})

    def __or__(self, other: "Mask") -> "Mask":
        return Mask({name: a | b for name, a, b in self._pairs(other)})

    def __invert__(self) -> "Mask":
        return Mask({name: ~entries for name, entries in self.kept.items()})

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mask) or self.kept.keys() != other.kept.keys():
            return False
        return all(torch.equal(entries, other[name]) for name, entries in self.kept.items())

    __hash__ = None  # type: ignore[assignment]

    def jaccard(self, other: "Mask") -> float:
        """Jaccard similarity |a ∩ b| / |a ∪ b| over all weights; 1 if both are empty."""
        return _ratio((self & other).n_kept, (self | other).n_kept)

    def jaccards(self, other: "Mask") -> dict[str, float]:
        """Jaccard similarity |a ∩ b| / |a ∪ b| of each weight; 1 if both are empty."""
        return {
            name: _ratio(int((a & b).sum()), int((a | b).sum()))
            for name, a, b in self._pairs(other)
        }

    def _pairs(self, other: "Mask") -> list[tuple[str, Tensor, Tensor]]:
        """The entries of both masks, weight by weight.

        Raises:
            UserError: the masks are over different weights.
        """
        shapes, others = ({n: tuple(k.shape) for n, k in m.items()} for m in (self, other))
        if shapes != others:
            raise UserError(
                f"Masks over different weights cannot be combined: one is over {shapes}, the "
                f"other over {others}."
            )
        return [(name, entries, other[name]) for name, entries in self.items()]

    # --- constructors ---------------------------------------------------------------------------

    @classmethod
    def full(cls, weights: Mapping[str, Num[Tensor, "..."]]) -> "Mask":
        """The mask that keeps every entry of ``weights``."""
        return cls({name: torch.ones_like(w, dtype=torch.bool) for name, w in weights.items()})

    @classmethod
    def from_threshold(cls, scores: Mapping[str, Num[Tensor, "..."]], threshold: float) -> "Mask":
        """The mask that keeps entries with a score of at least ``threshold``."""
        return cls({name: score >= threshold for name, score in scores.items()})

    @classmethod
    def from_scores(
        cls, scores: Mapping[str, Num[Tensor, "..."]], rate: float, scope: Scope = "global"
    ) -> "Mask":
        """The mask that keeps the highest scores and prunes the share ``rate`` of the entries.

        Exactly round(rate · n) of n entries are pruned; of equal scores, the first (by weight, then
        row by row) are kept.

        Args:
            scores: a score for every entry, by weight.
            rate: the pruned share, in [0, 1).
            scope: "global" prunes the share of all entries, "layer" of each weight's.

        Raises:
            UserError: the rate is outside [0, 1), or a score is NaN.
        """
        check_rate(rate)
        for name, score in scores.items():
            if score.isnan().any():
                raise UserError(f"The scores of {name} hold values that are not numbers.")
        if scope == "layer":
            return cls({name: _highest(score, rate) for name, score in scores.items()})
        flat = torch.cat([score.flatten() for score in scores.values()])
        parts = _highest(flat, rate).split([score.numel() for score in scores.values()])
        return cls(
            {name: part.view_as(scores[name]) for name, part in zip(scores, parts, strict=True)}
        )

    def shuffled(self, seed: int) -> "Mask":
        """A mask with the same density in each weight, at random entries."""
        generator = torch.Generator().manual_seed(seed)
        shuffled = {}
        for name, entries in self.kept.items():
            order = torch.randperm(entries.numel(), generator=generator)
            shuffled[name] = entries.flatten()[order].view_as(entries)
        return Mask(shuffled)

    # --- on disk --------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write the mask to a safetensors file, one boolean tensor per weight."""
        tensors = {name: entries.cpu().contiguous() for name, entries in self.kept.items()}
        write_whole(Path(path), lambda partial: save_file(tensors, partial))

    @classmethod
    def load(cls, path: str | Path) -> "Mask":
        """Read a mask from a file of `save`.

        Raises:
            UserError: the file is missing or truncated, or has values other than 0 and 1.
        """
        try:
            check_plain(path)
            return cls(load_file(path))
        except (OSError, SafetensorError) as error:
            raise UserError(f"{path} cannot be read as a mask ({error}).") from None


def _ratio(intersection: int, union: int) -> float:
    return intersection / union if union else 1.0


def check_rate(rate: float) -> None:
    """Raise an error for a prune rate outside [0, 1).

    Raises:
        UserError: the rate is outside.
    """
    if not (isinstance(rate, (int, float)) and math.isfinite(rate) and 0 <= rate < 1):
        raise UserError(
            f"A prune rate of {rate} is outside [0, 1): choose the share of weights to remove, "
            "such as 0.6."
        )


def _highest(scores: Num[Tensor, "..."], rate: float) -> Bool[Tensor, "..."]:
    return top_entries(scores, scores.numel() - round(rate * scores.numel()))


def top_entries(scores: Num[Tensor, "..."], n_kept: int) -> Bool[Tensor, "..."]:
    """True at the ``n_kept`` highest scores; of equal scores, the first.

    On a CPU it selects instead of sorting, because edge-popup calls it at every step.
    """
    flat = scores.detach().flatten()
    if n_kept <= 0 or n_kept >= len(flat):
        return torch.full_like(scores, n_kept > 0, dtype=torch.bool)
    choose = _select if flat.device.type == "cpu" else _sort
    return choose(flat, n_kept).view_as(scores)


def _select(flat: Num[Tensor, " n"], n_kept: int) -> Bool[Tensor, " n"]:
    # NumPy's vectorized selection is ten times as fast as torch.kthvalue or torch.topk.
    values, n_pruned = flat.numpy(), len(flat) - n_kept
    lowest_kept = np.partition(values, n_pruned)[n_pruned]
    kept = torch.from_numpy(values >= lowest_kept)
    if excess := int(np.count_nonzero(kept.numpy())) - n_kept:
        last_ties = (flat == lowest_kept).nonzero().flatten()[-excess:]
        kept[last_ties] = False
    return kept


def _sort(flat: Num[Tensor, " n"], n_kept: int) -> Bool[Tensor, " n"]:
    # Without a transfer to the CPU, which a CUDA graph does not allow.
    first = flat.argsort(descending=True, stable=True)[:n_kept]
    return torch.zeros_like(flat, dtype=torch.bool).scatter_(0, first, True)
