"""Runs on this machine: one process a core, one thread each, started once and fed runs.

Importing torch and TransformerLens costs seconds, so that a process takes one run after another.
"""

import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

from mechgrok import processes
from mechgrok.sweeps.plan import Member
from mechgrok.sweeps.where import Display, Outcome, Queue, Silent
from mechgrok.training.machine import find_device, interrupts

#: How often it is looked whether Ctrl-C was pressed, in seconds.
_PATIENCE = 0.2


@dataclass
class _Worker:
    process: "subprocess.Popen[bytes]"
    pipe: Connection
    member: Member | None = None
    activity: processes.Activity | None = None
    was_stuck: bool = False


def run_members(
    folder: Path,
    members: Sequence[Member],
    *,
    jobs: int,
    device: str = "cpu",
    done: Sequence[str] = (),
    display: Display | None = None,
) -> list[Outcome]:
    """Make ``members``, ``jobs`` at a time: a `mechgrok.sweeps.where.Where`, which see.

    Args:
        folder: the sweep's.
        members: what to make.
        jobs: processes.
        device: "cpu", "cuda" or "auto".
        done: the names of members that are there already.
        display: shows what happens.
    """
    display = display or Silent()
    queue = Queue(list(members), set(done))
    workers = [_start(folder, device) for _ in range(min(jobs, max(1, len(members))))]
    stopping = False
    with interrupts() as interrupted:
        try:
            while True:
                if interrupted and not stopping:
                    _interrupt(workers)
                    stopping = True
                if not interrupted:
                    _hand_out(workers, queue, display)
                if not any(worker.member for worker in workers):
                    return queue.outcomes
                for index in _heard(workers):
                    _listen(index, workers, queue, display, lambda: _start(folder, device))
        finally:
            _end(workers)


def _start(folder: Path, device: str) -> _Worker:
    return _Worker(*processes.start(_serve, str(folder), device))


def _hand_out(workers: list[_Worker], queue: Queue, display: Display) -> None:
    for index, worker in enumerate(workers):
        if worker.member is None and (member := queue.next()) is not None:
            worker.member, worker.activity = member, processes.Activity(worker.process)
            # One that has died meanwhile is found when it is listened to.
            with suppress(OSError):
                worker.pipe.send(member)
            display.began(index, member)


def _heard(workers: list[_Worker]) -> list[int]:
    """The busy workers that have something to say, after a moment at most."""
    busy = {worker.pipe: index for index, worker in enumerate(workers) if worker.member}
    for worker in workers:
        if worker.member and worker.activity and worker.activity.is_stuck():
            worker.was_stuck = True
            worker.process.kill()
    spoken = wait(list(busy), _PATIENCE)
    return [index for pipe, index in busy.items() if pipe in spoken]


def _listen(
    index: int, workers: list[_Worker], queue: Queue, display: Display, start: Callable[[], _Worker]
) -> None:
    """Take note of what a worker says."""
    worker = workers[index]
    member = worker.member
    assert member is not None
    try:
        said = worker.pipe.recv()
    except (EOFError, OSError):
        code = processes.end(worker.process)
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        if worker.was_stuck:
            how = f"no work done in {processes.STUCK_AFTER:g} seconds"
        workers[index] = start()
        ended = queue.lost(member, how)
    else:
        if isinstance(said, dict):
            display.row(index, member, said)
            return
        worker.member = None
        ended = queue.note(said)
    for outcome in ended:
        display.ended(index, outcome)


def _interrupt(workers: list[_Worker]) -> None:
    for worker in workers:
        if worker.member is not None:
            worker.process.send_signal(signal.SIGINT)


def _end(workers: list[_Worker]) -> None:
    """End the workers, of which those that are idle have nothing left to do."""
    for worker in workers:
        worker.pipe.close()
        worker.process.kill()
    for worker in workers:
        processes.end(worker.process)


def _serve(pipe: Connection, folder: str, device: str) -> None:
    """In a worker: take runs from the pipe and make them, until it closes."""
    from mechgrok.sweeps.making import attempt

    while True:
        try:
            member = pipe.recv()
        except EOFError:
            return
        if processes.interrupts:  # It came while all of this was being imported.
            pipe.send(Outcome(member, "interrupted", "stopped before a step was taken"))
        else:
            pipe.send(attempt(Path(folder), member, device=device, progress=pipe.send))


def checked_device(device: str) -> str:
    """A device that is there; "auto" is settled by each process, so that torch is not needed here.

    Raises:
        UserError: CUDA is asked for and not there, or the name is unknown.
    """
    return device if device == "auto" else find_device(device)
