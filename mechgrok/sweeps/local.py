"""Many runs on this machine: one process a core, one thread each, started once and fed runs.

Importing torch and TransformerLens costs seconds, so that a process takes one run after another.
What may begin (its parent is there) begins longest first, which leaves the cores idle least.
"""

import os
import signal
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection, get_context
from pathlib import Path
from typing import Any, Literal, Protocol

from mechgrok.errors import UserError
from mechgrok.processes import end_with
from mechgrok.sweeps.plan import Member

#: A run whose process was lost is begun again so many times, from its last checkpoint.
_TRIES = 2


@dataclass(frozen=True)
class Outcome:
    """How a member ended: "done", "failed" or "interrupted", and a sentence where it failed."""

    member: Member
    how: Literal["done", "failed", "interrupted"]
    why: str = ""


class Display(Protocol):
    """Whom the progress of a sweep is told to."""

    def began(self, worker: int, member: Member) -> None:
        """A worker began with a run."""

    def row(self, worker: int, member: Member, row: Mapping[str, float]) -> None:
        """A run was evaluated."""

    def ended(self, worker: int, outcome: Outcome) -> None:
        """A run ended."""


@dataclass
class _Worker:
    process: Any
    pipe: connection.Connection
    member: Member | None = None


@dataclass
class _Queue:
    """What is left to do, in the order in which it should begin."""

    waiting: list[Member]
    done: set[str]
    tries: dict[str, int] = field(default_factory=dict)

    def next(self) -> Member | None:
        """The first run whose parent is there; None while there is none."""
        for index, member in enumerate(self.waiting):
            if member.parent is None or member.parent in self.done:
                return self.waiting.pop(index)
        return None

    def orphans(self, parent: str) -> list[Member]:
        """The runs that can never begin, because ``parent`` failed; they leave the queue."""
        lost = [member for member in self.waiting if member.parent == parent]
        self.waiting = [member for member in self.waiting if member.parent != parent]
        return lost + [orphan for member in lost for orphan in self.orphans(member.name)]


def run_members(
    folder: Path,
    members: Sequence[Member],
    *,
    jobs: int,
    display: Display,
    done: Sequence[str] = (),
) -> list[Outcome]:
    """Make ``members``, ``jobs`` at a time.

    Args:
        folder: the sweep's.
        members: what to make, the longest first; a parent may stand anywhere.
        jobs: processes.
        display: is told what happens.
        done: the names of members that are there already.

    Returns:
        How each ended. After Ctrl-C the runs that were under way are "interrupted" and saved, and
        those that had not begun are missing.
    """
    queue = _Queue(list(members), set(done))
    outcomes: list[Outcome] = []
    context = get_context("forkserver")
    context.set_forkserver_preload(["mechgrok.sweeps.making"])
    workers = [_start(context, folder) for _ in range(min(jobs, max(1, len(members))))]
    stopping = False
    try:
        while True:
            try:
                if not stopping:
                    for index, worker in enumerate(workers):
                        if worker.member is None and (member := queue.next()) is not None:
                            worker.member = member
                            worker.pipe.send(member)
                            display.began(index, member)
                if not any(worker.member for worker in workers):
                    return outcomes
                _listen(workers, queue, outcomes, display, context, folder)
            except KeyboardInterrupt:
                if stopping:
                    raise
                stopping = True
                for worker in workers:
                    if worker.member is not None:
                        os.kill(worker.process.pid, signal.SIGINT)
    finally:
        for worker in workers:
            worker.pipe.close()
        for worker in workers:
            worker.process.join(5)
            if worker.process.is_alive():
                worker.process.kill()


def _listen(
    workers: list[_Worker],
    queue: _Queue,
    outcomes: list[Outcome],
    display: Display,
    context: Any,
    folder: Path,
) -> None:
    """Wait until a worker says something, and take note of it."""
    busy = {worker.pipe: index for index, worker in enumerate(workers) if worker.member}
    for pipe in connection.wait(list(busy)):
        index = busy[pipe]  # type: ignore[index]
        worker = workers[index]
        assert worker.member is not None
        try:
            kind, content = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join()
            outcome = _lost(worker, queue)
            workers[index] = _start(context, folder)
        else:
            if kind == "row":
                display.row(index, worker.member, content)
                continue
            outcome = Outcome(worker.member, kind, content)
            worker.member = None
        if outcome is None:
            continue
        _note(outcome, queue, outcomes)
        display.ended(index, outcome)


def _lost(worker: _Worker, queue: _Queue) -> Outcome | None:
    """A worker's process is gone: its run is begun again, or has failed."""
    member = worker.member
    assert member is not None
    queue.tries[member.name] = queue.tries.get(member.name, 1) + 1
    if queue.tries[member.name] <= _TRIES:
        queue.waiting.insert(0, member)
        return None
    code = worker.process.exitcode
    how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
    return Outcome(
        member, "failed", f"its process ended with {how}, twice; is there enough memory?"
    )


def _note(outcome: Outcome, queue: _Queue, outcomes: list[Outcome]) -> None:
    outcomes.append(outcome)
    if outcome.how == "done":
        queue.done.add(outcome.member.name)
        return
    if outcome.how == "failed":
        outcomes += [
            Outcome(orphan, "failed", f"{outcome.member.name}, which it is made from, failed.")
            for orphan in queue.orphans(outcome.member.name)
        ]


# --- in a worker --------------------------------------------------------------------------------


def _start(context: Any, folder: Path) -> _Worker:
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, folder, os.getpid()), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _work(pipe: connection.Connection, folder: Path, parent: int) -> None:
    """Take runs from the pipe and make them, until it closes."""
    # Ctrl-C reaches every process of the terminal. Training catches the first; none may kill.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with(parent)
    import torch

    torch.set_num_threads(1)
    while True:
        try:
            member = pipe.recv()
        except (EOFError, OSError):
            return
        kind, content = _attempt(pipe, folder, member)
        pipe.send((kind, content))


def _attempt(pipe: connection.Connection, folder: Path, member: Member) -> tuple[str, str]:
    from mechgrok.sweeps.making import make_member
    from mechgrok.training import Diverged, Interrupted

    def progress(row: dict[str, float]) -> None:
        pipe.send(("row", row))

    try:
        make_member(folder, member, progress=progress)
    except (UserError, Diverged) as error:
        return "failed", str(error)
    except Interrupted as stopped:
        return "interrupted", f"saved at step {stopped.step}"
    except Exception:
        return "failed", traceback.format_exc()
    return "done", ""
