"""A sweep's runs trained together, those of one shape in one loop: the way of a GPU."""

from collections.abc import Sequence
from pathlib import Path

from mechgrok.errors import UserError
from mechgrok.runs import Run
from mechgrok.sweeps.making import begin_member, milestones_in_words
from mechgrok.sweeps.plan import Member
from mechgrok.sweeps.where import Display, Outcome, Queue, Silent
from mechgrok.training import Interrupted, resume_together
from mechgrok.training.together import Fate


def run_together(
    folder: Path,
    members: Sequence[Member],
    *,
    device: str = "auto",
    size: int | None = None,
    done: Sequence[str] = (),
    display: Display | None = None,
) -> list[Outcome]:
    """Make ``members``, all that may begin at once: a `mechgrok.sweeps.where.Where`, which see.

    Args:
        folder: the sweep's.
        members: what to make.
        device: "auto", "cpu" or "cuda".
        size: networks in one loop; `mechgrok.training.together.USUAL_SIZE` unless given.
        done: the names of members that are there already.
        display: shows what happens.
    """
    display = display or Silent()
    queue = Queue(list(members), set(done))
    while ready := _begun(folder, queue, display):

        def row(path: Path, row: dict[str, float], ready: dict[Path, Member] = ready) -> None:
            display.row(0, ready[path], row)

        def ended(path: Path, fate: Fate, ready: dict[Path, Member] = ready) -> None:
            _note(outcome_of(ready[path], fate), queue, display)

        try:
            resume_together(list(ready), size=size, device=device, progress=row, ended=ended)
        except Interrupted:
            break
    return queue.outcomes


def _begun(folder: Path, queue: Queue, display: Display) -> dict[Path, Member]:
    """The members whose parents are there, each with its run at its first step or further."""
    ready: dict[Path, Member] = {}
    while (member := queue.next()) is not None:
        display.began(0, member)
        try:
            ready[begin_member(folder, member).path] = member
        except UserError as error:
            _note(Outcome(member, "failed", str(error)), queue, display)
    return ready


def _note(outcome: Outcome, queue: Queue, display: Display) -> None:
    for each in queue.note(outcome):
        display.ended(0, each)


def outcome_of(member: Member, fate: Fate) -> Outcome:
    """What became of a member, as a sweep says it."""
    if isinstance(fate, Run):
        return Outcome(member, "done", milestones_in_words(fate))
    if isinstance(fate, Interrupted):
        return Outcome(member, "interrupted", f"saved at step {fate.step:,}")
    return Outcome(member, "failed", str(fate))
