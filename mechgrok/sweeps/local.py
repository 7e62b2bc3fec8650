"""Training a sweep on this machine: one process per core, with one thread each.

The processes are reused, because importing torch and TransformerLens takes seconds.
"""

from collections.abc import Sequence
from pathlib import Path

from mechgrok.sweeps.executor import Display, Outcome, Queue
from mechgrok.sweeps.plan import Member
from mechgrok.training.machine import interrupts
from mechgrok.workers import Failure, Workers, send_to_parent

#: Seconds between two checks for Ctrl-C.
_CHECK_EVERY = 0.2


def run_members(
    folder: Path,
    members: Sequence[Member],
    *,
    jobs: int,
    device: str = "cpu",
    done: Sequence[str],
    display: Display,
) -> list[Outcome]:
    """Train ``members``, ``jobs`` at a time: a `mechgrok.sweeps.executor.Executor`.

    Args:
        folder: the sweep's folder.
        members: the runs to train.
        jobs: the number of processes.
        device: "cpu", "cuda" or "auto".
        done: the names of the finished members.
        display: receives progress events.
    """
    queue = Queue(list(members), set(done))
    with (
        Workers(jobs, on_start=display.began, on_message=display.row) as workers,
        interrupts() as interrupted,
    ):
        while True:
            if interrupted:
                workers.interrupt()
            while not interrupted and workers.n_unfinished < jobs and (member := queue.next()):
                workers.submit(member, _make, folder, member, device)
            if not workers.n_unfinished:
                return queue.outcomes
            for worker, member, result in workers.poll(_CHECK_EVERY):
                if isinstance(result, Failure):
                    result = Outcome(member, "failed", result.reason)
                for outcome in queue.note(result):
                    display.ended(worker, outcome)


def _make(folder: Path, member: Member, device: str) -> Outcome:
    """In a worker: train a run."""
    from mechgrok.sweeps.making import attempt

    return attempt(folder, member, device=device, progress=send_to_parent)
