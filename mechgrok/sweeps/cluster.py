"""Runs on a cluster, by Ray Core: a task makes a bundle of runs, one core and one thread each.

The sweep's folder lies on a path that all nodes share, so that nothing but news travels between
them: a run is written where it would be written here, and with the same bytes. What a lost node was
at is begun again elsewhere from its last checkpoint.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mechgrok import user_code
from mechgrok.errors import ExternalError, UserError
from mechgrok.sweeps.executor import Display, Outcome, Queue
from mechgrok.sweeps.folder import PLAN
from mechgrok.sweeps.plan import Member
from mechgrok.training.machine import interrupts

#: Seconds between two looks at what the nodes have told, and two rows of one run.
_PATIENCE = 0.5
#: Seconds in which a cluster must answer.
_REACHED_WITHIN = 10
#: Runs in a task at most; and at least so many tasks for each core, while there are enough runs.
_LARGEST_BUNDLE, _TASKS_PER_CORE = 16, 4


@dataclass(frozen=True)
class Cluster:
    """A `mechgrok.sweeps.executor.Executor`: the nodes of a Ray cluster.

    Attributes:
        address: ``host:port`` of its head; "auto" for the one that this machine belongs to (which
            RAY_ADDRESS names, or ``ray start`` started), or else one that is started on this
            machine and ends with the sweep.
        device: "cpu"; or "cuda", with one GPU for each task.
        timeout: seconds in which the cluster must answer, whatever it is asked.
    """

    address: str = "auto"
    device: str = "cpu"
    timeout: float = 60.0

    def check(self) -> None:
        """Look whether there is such a cluster, before anything is written.

        Raises:
            UserError: Ray is not installed, or nothing answers at the address, or no cluster
                there in time.
        """
        _ray()
        address = os.environ.get("RAY_ADDRESS", "auto") if self.address == "auto" else self.address
        if self.address != "auto" or (":" in address and "/" not in address):
            _reach(address, self.timeout)
            _join(address, self.timeout)

    def __call__(
        self, folder: Path, members: Sequence[Member], *, done: Sequence[str], display: Display
    ) -> list[Outcome]:
        """Make ``members``; see `mechgrok.sweeps.executor.Executor`.

        Raises:
            UserError: as for `check`, or Ray cannot connect.
        """
        self.check()
        with _connected(self.address) as ray:
            try:
                tasks = _Tasks(ray, folder.resolve(), self, display)
                return tasks.run(Queue(list(members), set(done)))
            except ray.exceptions.GetTimeoutError:
                raise ExternalError(
                    f"The Ray cluster did not answer within {self.timeout:g} seconds: see that its "
                    "head runs, and go on with mechgrok sweep --resume."
                ) from None


class _Tasks:
    """The tasks of one sweep: what is under way, and what is told of it.

    Args:
        ray: the module, connected.
        folder: the sweep's, as all nodes know it.
        cluster: says on which device, and how long is waited for an answer.
        display: is told what happens.
    """

    def __init__(self, ray: Any, folder: Path, cluster: Cluster, display: Display) -> None:
        self.ray, self.folder, self.display = ray, folder, display
        self.device, self.timeout = cluster.device, cluster.timeout
        self.began = time.monotonic()
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        self.news = ray.remote(num_cpus=0, scheduling_strategy=here)(News).remote()
        gpus = 1 if self.device == "cuda" else 0
        # A run that is lost is begun again here, where it is known what else was in its bundle.
        self.make = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)(make_bundle)
        self.under_way: dict[Any, list[Member]] = {}
        self.begun: set[str] = set()
        self.slots: dict[str, int] = {}

    def run(self, queue: Queue) -> list[Outcome]:
        """Make everything in the queue; after Ctrl-C, end what is under way."""
        told = False
        with interrupts() as interrupted:
            while True:
                if interrupted and not told:
                    self._stop()
                    told = True
                if not interrupted:
                    self._hand_out(queue)
                if not self.under_way:
                    return queue.outcomes
                self._check_resources()
                ready, _ = self.ray.wait(list(self.under_way), timeout=_PATIENCE)
                self._tell()
                for task in ready:
                    self._end(task, queue)

    def _check_resources(self) -> None:
        """End where no node that runs could be given a task, after as long as others may take to
        start.

        Raises:
            ExternalError: there is no core, or no GPU where one is needed.
        """
        needed = "GPU" if self.device == "cuda" else "CPU"
        if self.begun or time.monotonic() - self.began < self.timeout:
            return
        if self.ray.cluster_resources().get(needed, 0) < 1:
            raise ExternalError(
                f"The Ray cluster has had no node with a {needed} for {self.timeout:g} seconds: "
                "add one (ray start --address=…), or leave --ray out."
            )

    def _hand_out(self, queue: Queue) -> None:
        """Submit all that may begin, in bundles while there is much of it."""
        members = list(iter(queue.next, None))
        cores = max(1, int(self.ray.cluster_resources().get("CPU", 1)))
        size = min(_LARGEST_BUNDLE, max(1, len(members) // (cores * _TASKS_PER_CORE)))
        for start in range(0, len(members), size):
            bundle = members[start : start + size]
            task = self.make.remote(
                str(self.folder), bundle, self.device, user_code.allowed(), self.news, self.timeout
            )
            self.under_way[task] = bundle

    def _tell(self) -> None:
        """Show what the nodes have told since the last time."""
        members = {member.name: member for bundle in self.under_way.values() for member in bundle}
        for name, row in self.ray.get(self.news.take.remote(), timeout=self.timeout):
            if name not in members:
                continue
            if row is None:
                self.begun.add(name)
                self.slots[name] = self._free_slot()
                self.display.began(self.slots[name], members[name])
            elif name in self.slots:
                self.display.row(self.slots[name], members[name], row)

    def _free_slot(self) -> int:
        taken = set(self.slots.values())
        return next(slot for slot in range(len(taken) + 1) if slot not in taken)

    def _end(self, task: Any, queue: Queue) -> None:
        """Take note of how a task ended."""
        bundle = self.under_way.pop(task)
        try:
            outcomes = self.ray.get(task, timeout=self.timeout)
        except self.ray.exceptions.TaskCancelledError:
            return
        except self.ray.exceptions.GetTimeoutError:
            raise
        except self.ray.exceptions.RayError as error:
            self._lost(bundle, type(error).__name__, queue)
            return
        self._tell()
        for outcome in outcomes:
            self._show(queue.note(outcome))

    def _lost(self, bundle: list[Member], how: str, queue: Queue) -> None:
        """A node or a worker is gone: what it had not begun waits again, what it was at is lost."""
        for member in reversed(bundle):
            if _is_there(self.folder / member.name):
                self._show(queue.note(Outcome(member, "done")))
            elif member.name in self.begun:
                self.begun.discard(member.name)
                self.slots.pop(member.name, None)
                self._show(queue.lost(member, how))
            else:
                queue.waiting.insert(0, member)

    def _show(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            self.display.ended(self.slots.pop(outcome.member.name, 0), outcome)

    def _stop(self) -> None:
        """Let every run that is under way save and end, and let no other begin."""
        self.ray.get(self.news.stop.remote(), timeout=self.timeout)
        for task, bundle in self.under_way.items():
            if not any(member.name in self.begun for member in bundle):
                self.ray.cancel(task)


def _is_there(path: Path) -> bool:
    """Whether a run is complete."""
    from mechgrok.runs import Run

    return (path / "config.json").is_file() and (run := Run(path)).finished and run.settled


class News:
    """What the nodes tell the sweep, and whether it has been stopped: an actor beside the sweep."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Mapping[str, float] | None]] = []
        self.stopped = False

    def tell(self, name: str, row: Mapping[str, float] | None) -> bool:
        """A run has begun, or was evaluated; the answer is whether it must end."""
        self.told.append((name, row))
        return self.stopped

    def take(self) -> list[tuple[str, Mapping[str, float] | None]]:
        """What was told since the last call."""
        told, self.told = self.told, []
        return told

    def stop(self) -> None:
        """Answer from now on that runs must end."""
        self.stopped = True


def make_bundle(
    folder: str, members: list[Member], device: str, allowed: list[str], news: Any, timeout: float
) -> list[Outcome]:
    """On a node: make runs one after another.

    Args:
        folder: the sweep's.
        members: the runs, whose parents are there.
        device: "cpu" or "cuda".
        allowed: the code that a person has named where the sweep was started.
        news: the actor that is told, and says when to stop.
        timeout: seconds in which it must answer.

    Returns:
        How each ended, up to one that was interrupted.
    """
    import ray
    import torch

    from mechgrok.sweeps.making import attempt

    if not (Path(folder) / PLAN).is_file():
        why = (
            f"{folder} is not there on the node {socket.gethostname()}: sweep into a folder on a "
            "path that all nodes share."
        )
        return [Outcome(member, "failed", why) for member in members]
    for name in allowed:
        user_code.allow(name)
    torch.set_num_threads(1)
    outcomes: list[Outcome] = []
    for member in members:
        if ray.get(news.tell.remote(member.name, None), timeout=timeout):
            break
        progress = _Told(news, member.name, timeout)
        outcomes.append(attempt(Path(folder), member, device=device, progress=progress))
        if outcomes[-1].how == "interrupted":
            break
    return outcomes


class _Told:
    """Progress that is told now and then; where the answer is to stop, it is Ctrl-C."""

    def __init__(self, news: Any, name: str, timeout: float) -> None:
        self.news, self.name, self.timeout, self.last = news, name, timeout, 0.0

    def __call__(self, row: Mapping[str, float]) -> None:
        import ray

        if time.monotonic() - self.last < _PATIENCE:
            return
        self.last = time.monotonic()
        if ray.get(self.news.tell.remote(self.name, row), timeout=self.timeout):
            signal.raise_signal(signal.SIGINT)


def _ray() -> Any:
    """The module.

    Raises:
        UserError: it is not installed.
    """
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError:
        raise UserError("Ray is not installed: pip install 'mechgrok[ray]'.") from None
    return ray


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Ray, connected to the cluster; what was started here ends here.

    Raises:
        UserError: it cannot connect.
    """
    ray = _ray()
    # Of a cluster that is started here, whose workers would else wait for everything else here.
    os.environ.setdefault("RAY_worker_niceness", "0")
    quiet = {"log_to_driver": False, "logging_level": "error", "configure_logging": False}
    try:
        # Without an address Ray looks for a cluster that this machine is in, and else starts one.
        ray.init(None if address == "auto" else address, include_dashboard=False, **quiet)
    except (ConnectionError, RuntimeError, TimeoutError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise UserError(f"Ray cannot connect to {address}: {first}") from None
    try:
        yield ray
    finally:
        ray.shutdown()


def _join(address: str, timeout: float) -> None:
    """Connect to the cluster in a process of its own first: Ray itself would wait for minutes.

    Raises:
        ExternalError: what listens there is no cluster, or none that answers in time.
    """
    connect = "import sys, ray; ray.init(sys.argv[1], log_to_driver=False, logging_level='error')"
    try:
        joined = subprocess.run(
            [sys.executable, "-c", connect, address],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ExternalError(
            f"What listens at {address} did not answer as a Ray cluster within {timeout:g} "
            "seconds: see that ray start --head runs there, or wait longer with --ray-timeout."
        ) from None
    if joined.returncode:
        said = joined.stderr.decode(errors="replace").strip().splitlines()
        raise ExternalError(f"Ray cannot connect to {address}: {said[-1] if said else 'no word'}")


def _reach(address: str, timeout: float) -> None:
    """Ask whether anything listens at ``host:port``, before Ray waits for minutes.

    Raises:
        UserError: nothing does, or it is no such address.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not port.isascii() or "/" in host:
        raise UserError(
            f"{address!r} is no address of a Ray cluster: write host:port, as ray start prints it, "
            "or auto."
        )
    try:
        socket.create_connection((host, int(port)), timeout=min(timeout, _REACHED_WITHIN)).close()
    except (OSError, OverflowError) as error:
        raise UserError(
            f"Nothing answers at {address} ({error}): start a cluster there with ray start --head."
        ) from None
