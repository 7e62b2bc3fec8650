"""What makes a sweep's runs: the interface of this machine's cores, a GPU and a cluster.

An `Executor` takes the missing runs and makes them in the sweep's folder; `mechgrok.sweeps.local`
is the usual one. Each takes the next run from a `Queue`, makes it with
`mechgrok.sweeps.making.attempt` and sends progress events to a `Display`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Literal, Protocol

from mechgrok.sweeps.plan import Member

#: How often a run is begun whose process is lost, each time from its last checkpoint.
TRIES = 2


@dataclass(frozen=True)
class Outcome:
    """How making a member ended.

    Attributes:
        member: the run.
        how: "interrupted" where Ctrl-C saved it and it can be resumed.
        words: when it memorized and generalized, or why it failed, in a sentence.
        warnings: the warnings on the way.
    """

    member: Member
    how: Literal["done", "failed", "interrupted"]
    words: str = ""
    warnings: tuple[str, ...] = ()


class Display(Protocol):
    """Receives the progress events of a sweep. ``worker`` is the number of the process."""

    def began(self, worker: int, member: Member) -> None:
        """A worker has begun a run."""

    def row(self, worker: int, member: Member, row: Mapping[str, float]) -> None:
        """A run was evaluated."""

    def ended(self, worker: int, outcome: Outcome) -> None:
        """A run ended."""


class NullDisplay:
    """A display that shows nothing."""

    def began(self, worker: int, member: Member) -> None: ...
    def row(self, worker: int, member: Member, row: Mapping[str, float]) -> None: ...
    def ended(self, worker: int, outcome: Outcome) -> None: ...


class Executor(Protocol):
    """Makes members in a sweep's folder."""

    def __call__(
        self, folder: Path, members: Sequence[Member], *, done: Sequence[str], display: Display
    ) -> list[Outcome]:
        """Train ``members``.

        Args:
            folder: the sweep's.
            members: what is missing or unfinished, in the order in which it should begin; a parent
                may stand anywhere.
            done: the names of the members that are finished.
            display: receives progress events.

        Returns:
            How each ended. After Ctrl-C the runs that had begun are "interrupted" and saved, and
            the others are missing.
        """
        ...


@dataclass
class Queue:
    """The runs that are left to make, in the order in which they should begin."""

    waiting: list[Member]
    done: set[str]
    outcomes: list[Outcome] = field(default_factory=list)
    _tries: dict[str, int] = field(default_factory=dict)

    def next(self) -> Member | None:
        """Take the first run whose parent is finished; None while there is none."""
        for index, member in enumerate(self.waiting):
            if member.parent is None or member.parent in self.done:
                return self.waiting.pop(index)
        return None

    def note(self, outcome: Outcome) -> list[Outcome]:
        """Record how a run ended.

        Returns:
            The outcome, and those that follow from it: without its parent a run cannot be made.
        """
        self.outcomes.append(outcome)
        if outcome.how == "done":
            self.done.add(outcome.member.name)
        if outcome.how != "failed":
            return [outcome]
        orphans = [each for each in self.waiting if each.parent == outcome.member.name]
        self.waiting = [each for each in self.waiting if each not in orphans]
        why = f"{outcome.member.name}, which it is made from, failed."
        failed = [self.note(Outcome(orphan, "failed", why)) for orphan in orphans]
        return [outcome, *chain.from_iterable(failed)]

    def lost(self, member: Member, how: str) -> list[Outcome]:
        """Begin a run again whose process is gone, or record that it failed.

        Args:
            member: the run.
            how: how the process ended.

        Returns:
            The new outcomes; none where the run is begun again.
        """
        self._tries[member.name] = self._tries.get(member.name, 0) + 1
        if self._tries[member.name] < TRIES:
            self.waiting.insert(0, member)
            return []
        why = f"its process ended with {how}, {TRIES} times; is there enough memory?"
        return self.note(Outcome(member, "failed", why))
