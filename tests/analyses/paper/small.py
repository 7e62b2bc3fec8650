"""Where a small sweep is made: in the test's own process."""

from collections.abc import Sequence
from pathlib import Path

from mechgrok.sweeps import Display, Member, Outcome
from mechgrok.sweeps.executor import Queue
from mechgrok.sweeps.making import attempt


def here(
    folder: Path, members: Sequence[Member], *, done: Sequence[str], display: Display
) -> list[Outcome]:
    """One run after another."""
    queue = Queue(list(members), set(done))
    while (member := queue.next()) is not None:
        queue.note(attempt(folder, member))
    return queue.outcomes
