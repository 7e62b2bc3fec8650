"""Where a sweep's runs are made, as a value: what this machine's cores and others have in common.

A `Where` takes the runs that are missing and makes them in the sweep's folder. `mechgrok.sweeps.
local` is the usual one. Whatever it is, the same `Queue` says what may begin next, the same
`mechgrok.sweeps.making.attempt` makes one run, and the same `Display` is told.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from mechgrok.sweeps.plan import Member

#: A run whose process was lost is begun so many times, each time from its last checkpoint.
TRIES = 2


@dataclass(frozen=True)
class Outcome:
    """How making a member ended.

    Attributes:
        member: the run.
        how: "interrupted" where Ctrl-C saved it; going on is possible.
        words: when it memorized and generalized, or why it failed, in a sentence.
        warnings: what was warned of on the way.
    """

    member: Member
    how: Literal["done", "failed", "interrupted"]
    words: str = ""
    warnings: tuple[str, ...] = ()


class Display(Protocol):
    """Whom the progress of a sweep is told to."""

    def began(self, worker: int, member: Member) -> None:
        """A worker began with a run."""

    def row(self, worker: int, member: Member, row: Mapping[str, float]) -> None:
        """A run was evaluated."""

    def ended(self, worker: int, outcome: Outcome) -> None:
        """A run ended."""


class Silent:
    """A display that shows nothing."""

    def began(self, worker: int, member: Member) -> None: ...
    def row(self, worker: int, member: Member, row: Mapping[str, float]) -> None: ...
    def ended(self, worker: int, outcome: Outcome) -> None: ...


class Where(Protocol):
    """Makes members in a sweep's folder."""

    def __call__(
        self, folder: Path, members: Sequence[Member], *, done: Sequence[str], display: Display
    ) -> list[Outcome]:
        """Make ``members``.

        Args:
            folder: the sweep's.
            members: what is missing or unfinished, in the order in which it should begin; a parent
                may stand anywhere.
            done: the names of members that are there already.
            display: shows what happens.

        Returns:
            How each ended. After Ctrl-C the runs that were under way are "interrupted" and saved,
            and those that had not begun are missing.
        """
        ...


@dataclass
class Queue:
    """What is left to do, in the order in which it should begin."""

    waiting: list[Member]
    done: set[str]
    outcomes: list[Outcome] = field(default_factory=list)
    _tries: dict[str, int] = field(default_factory=dict)

    def next(self) -> Member | None:
        """The first run whose parent is there; None while there is none."""
        for index, member in enumerate(self.waiting):
            if member.parent is None or member.parent in self.done:
                return self.waiting.pop(index)
        return None

    def note(self, outcome: Outcome) -> list[Outcome]:
        """Take note of how a run ended.

        Returns:
            That, and what follows from it: without their parent, runs can never begin.
        """
        noted = [outcome]
        if outcome.how == "done":
            self.done.add(outcome.member.name)
        if outcome.how == "failed":
            lost = [each for each in self.waiting if each.parent == outcome.member.name]
            self.waiting = [each for each in self.waiting if each not in lost]
            why = f"{outcome.member.name}, which it is made from, failed."
            for orphan in lost:
                noted += self.note(Outcome(orphan, "failed", why))
        if outcome not in self.outcomes:
            self.outcomes.append(outcome)
        return noted

    def lost(self, member: Member, how: str) -> list[Outcome]:
        """The process of a run is gone: the run is begun again, or has failed.

        Args:
            member: the run.
            how: it ended: "signal 9".

        Returns:
            What is to be told of; nothing where it is begun again.
        """
        self._tries[member.name] = self._tries.get(member.name, 0) + 1
        if self._tries[member.name] < TRIES:
            self.waiting.insert(0, member)
            return []
        why = f"its process ended with {how}, {TRIES} times; is there enough memory?"
        return self.note(Outcome(member, "failed", why))
