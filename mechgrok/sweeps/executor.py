"""The interface of executors, which train a sweep's runs on cores, a GPU or a cluster.

An `Executor` trains the missing runs in the sweep's folder; the default is `mechgrok.sweeps.local`.
It takes runs from a `Queue`, trains each with `mechgrok.sweeps.making.attempt`, and sends progress
events to a `Display`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Literal, Protocol

from mechgrok.sweeps.plan import Member

#: Attempts at a run whose process dies; each resumes it from its last checkpoint.
TRIES = 2


@dataclass(frozen=True)
class Outcome:
    """The outcome of training a member.

    Attributes:
        member: the run.
        how: "done", "failed", or "interrupted" (by Ctrl-C; the run is saved).
        words: its t_mem and t_gen, or the reason why it failed, in a sentence.
        warnings: the warnings during training.
    """

    member: Member
    how: Literal["done", "failed", "interrupted"]
    words: str = ""
    warnings: tuple[str, ...] = ()


class Display:
    """Receives the progress events of a sweep, and shows nothing.

    ``worker`` is the number of the process.
    """

    def began(self, worker: int, member: Member) -> None:
        """Called when a worker has begun a run."""

    def row(self, worker: int, member: Member, row: Mapping[str, float]) -> None:
        """Called after an evaluation with its row of the metrics."""

    def ended(self, worker: int, outcome: Outcome) -> None:
        """Called when a run has ended."""


class Executor(Protocol):
    """Trains members in a sweep's folder."""

    def __call__(
        self, folder: Path, members: Sequence[Member], *, done: Sequence[str], display: Display
    ) -> list[Outcome]:
        """Train ``members``.

        Args:
            folder: the sweep's folder.
            members: the missing and unfinished runs by priority; children may precede parents.
            done: the names of the finished members.
            display: receives progress events.

        Returns:
            The outcomes. After Ctrl-C the runs that had begun are "interrupted" and saved, and the
            others have no outcome.
        """
        ...


@dataclass
class Queue:
    """The remaining runs by priority."""

    waiting: list[Member]
    done: set[str]
    outcomes: list[Outcome] = field(default_factory=list)
    _tries: dict[str, int] = field(default_factory=dict)

    def next(self) -> Member | None:
        """Take the first run whose parent is finished; None if there is none."""
        for index, member in enumerate(self.waiting):
            if member.parent is None or member.parent in self.done:
                return self.waiting.pop(index)
        return None

    def note(self, outcome: Outcome) -> list[Outcome]:
        """Record an outcome.

        Returns:
            The outcome, and failures of the runs to be made from a failed run.
        """
        self.outcomes.append(outcome)
        if outcome.how == "done":
            self.done.add(outcome.member.name)
        if outcome.how != "failed":
            return [outcome]
        orphans = [member for member in self.waiting if member.parent == outcome.member.name]
        self.waiting = [member for member in self.waiting if member not in orphans]
        reason = f"its parent {outcome.member.name} failed."
        failed = [self.note(Outcome(orphan, "failed", reason)) for orphan in orphans]
        return [outcome, *chain.from_iterable(failed)]

    def lost(self, member: Member, how: str) -> list[Outcome]:
        """Queue a run again after its process died, or record that it failed.

        Args:
            member: the run.
            how: how the process ended.

        Returns:
            The new outcomes; empty if the run is queued again.
        """
        self._tries[member.name] = self._tries.get(member.name, 0) + 1
        if self._tries[member.name] < TRIES:
            self.waiting.insert(0, member)
            return []
        reason = f"its process ended with {how}, {TRIES} times; is there enough memory?"
        return self.note(Outcome(member, "failed", reason))
