"""Shards: disjoint shares of a sweep's runs, which separate processes train."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from mechgrok.errors import UserError
from mechgrok.sweeps.order import in_order
from mechgrok.sweeps.plan import Member


@dataclass(frozen=True)
class Shard:
    """Share ``index`` of ``count`` of a sweep's runs, counted from 1.

    A base run and all runs made from it are in one shard. Base runs are dealt out by decreasing
    work, so shards take about equally long, and every shard follows from the plan alone.
    """

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse ``3/20``.

        Raises:
            UserError: the text has another form, or the index is not between 1 and the count.
        """
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise UserError(
                f"--shard {text} is not a shard: write 3/20 for the third of twenty, counted from "
                "1."
            )
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @property
    def folder(self) -> str:
        """The folder inside the sweep's folder that holds this shard's lock."""
        return f".shards/{self.index}-of-{self.count}"

    def of(self, members: Sequence[Member]) -> list[Member]:
        """The shard's runs, in the plan's order; parents must precede their children."""
        bases = [member.name for member in in_order(members) if member.parent is None]
        names = set(bases[self.index - 1 :: self.count])
        for member in members:
            if member.parent in names:
                names.add(member.name)
        return [member for member in members if member.name in names]
