"""Training a sweep's runs of one shape together in one loop, for a GPU."""

from collections.abc import Sequence
from pathlib import Path

from mechgrok.errors import UserError
from mechgrok.runs import Run
from mechgrok.sweeps.executor import Display, Outcome, Queue
from mechgrok.sweeps.making import begin_member, milestones_in_words
from mechgrok.sweeps.plan import Member
from mechgrok.training import Interrupted, resume_together
from mechgrok.training.together import MemberOutcome


def run_together(
    folder: Path,
    members: Sequence[Member],
    *,
    device: str = "auto",
    size: int | None = None,
    done: Sequence[str],
    display: Display,
) -> list[Outcome]:
    """Train all ready members together, until none is left: a `mechgrok.sweeps.executor.Executor`.

    Args:
        folder: the sweep's folder.
        members: the runs to train.
        device: "auto", "cpu" or "cuda".
        size: networks in one loop; default: `mechgrok.training.together.USUAL_SIZE`.
        done: the names of the finished members.
        display: receives progress events.
    """
    queue = Queue(list(members), set(done))
    while ready := _begin(folder, queue, display):

        def row(path: Path, row: dict[str, float], ready: dict[Path, Member] = ready) -> None:
            display.row(0, ready[path], row)

        def ended(path: Path, outcome: MemberOutcome, ready: dict[Path, Member] = ready) -> None:
            _note(_as_outcome(ready[path], outcome), queue, display)

        try:
            resume_together(list(ready), size=size, device=device, progress=row, ended=ended)
        except Interrupted:
            break
    return queue.outcomes


def _begin(folder: Path, queue: Queue, display: Display) -> dict[Path, Member]:
    """Open or create the runs of all members whose parents are finished, by path."""
    ready: dict[Path, Member] = {}
    while (member := queue.next()) is not None:
        display.began(0, member)
        try:
            ready[begin_member(folder, member).path] = member
        except UserError as error:
            _note(Outcome(member, "failed", str(error)), queue, display)
    return ready


def _note(outcome: Outcome, queue: Queue, display: Display) -> None:
    for ended in queue.note(outcome):
        display.ended(0, ended)


def _as_outcome(member: Member, outcome: MemberOutcome) -> Outcome:
    if isinstance(outcome, Run):
        return Outcome(member, "done", milestones_in_words(outcome))
    if isinstance(outcome, Interrupted):
        return Outcome(member, "interrupted", f"saved at step {outcome.step:,}")
    return Outcome(member, "failed", str(outcome))
