"""Runs on a cluster, by Ray Core: a task makes a run with one core and one thread.

The sweep's folder lies on a path that all nodes share, so that nothing but progress travels between
them: a run is written where it would be written here, with the same bytes. A run on a node that is
lost is begun again elsewhere from its last checkpoint.
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

#: Seconds between two requests for progress, and between two rows of one run.
_CHECK_EVERY = 0.5
#: Seconds in which something must listen at the address.
_CONNECT_WITHIN = 10
#: Tasks that are submitted at a time, for each core.
_TASKS_PER_CORE = 4


@dataclass(frozen=True)
class Cluster:
    """An executor: the nodes of a Ray cluster.

    Attributes:
        address: ``host:port`` of its head; "auto" for the one that this machine belongs to (which
            RAY_ADDRESS names, or ``ray start`` started), or else one that is started on this
            machine and ends with the sweep.
        device: "cpu"; or "cuda", with one GPU for each run.
        timeout: seconds in which the cluster must answer each request.
    """

    address: str = "auto"
    device: str = "cpu"
    timeout: float = 60.0

    def check(self) -> None:
        """Check that there is such a cluster, before anything is written.

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
    """The Ray tasks of one sweep.

    Args:
        ray: the module, connected.
        folder: the sweep's, as all nodes know it.
        cluster: the device, and the seconds in which an answer must come.
        display: receives progress events.
    """

    def __init__(self, ray: Any, folder: Path, cluster: Cluster, display: Display) -> None:
        self.ray, self.folder, self.display = ray, folder, display
        self.device, self.timeout = cluster.device, cluster.timeout
        self.began = time.monotonic()
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        self.actor = ray.remote(num_cpus=0, scheduling_strategy=here)(ProgressActor).remote()
        gpus = 1 if self.device == "cuda" else 0
        # A run that is lost is begun again by the queue, which counts how often.
        self.make = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)(make_run)
        self.under_way: dict[Any, Member] = {}
        self.begun: set[str] = set()

    def run(self, queue: Queue) -> list[Outcome]:
        """Make everything in the queue; after Ctrl-C, end what is under way."""
        stopped = False
        with interrupts() as interrupted:
            while True:
                if interrupted and not stopped:
                    self._stop()
                    stopped = True
                if not stopped:
                    self._submit(queue)
                if not self.under_way:
                    return queue.outcomes
                self._check_resources()
                ready, _ = self.ray.wait(list(self.under_way), timeout=_CHECK_EVERY)
                self._show_progress()
                for task in ready:
                    self._end(task, queue)

    def _check_resources(self) -> None:
        """End where no node could run a task, after the time that nodes may take to start.

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

    def _submit(self, queue: Queue) -> None:
        cores = max(1, int(self.ray.cluster_resources().get("CPU", 1)))
        while len(self.under_way) < cores * _TASKS_PER_CORE and (member := queue.next()):
            given = (self.device, user_code.allowed(), self.actor, self.timeout)
            self.under_way[self.make.remote(str(self.folder), member, *given)] = member

    def _show_progress(self) -> None:
        members = {member.name: member for member in self.under_way.values()}
        for name, row in self.ray.get(self.actor.take.remote(), timeout=self.timeout):
            if name not in members:
                continue
            if row is None:
                self.begun.add(name)
                self.display.began(0, members[name])
            else:
                self.display.row(0, members[name], row)

    def _end(self, task: Any, queue: Queue) -> None:
        """Record how a task ended."""
        member = self.under_way.pop(task)
        try:
            outcome = self.ray.get(task, timeout=self.timeout)
        except self.ray.exceptions.TaskCancelledError:
            return
        except self.ray.exceptions.GetTimeoutError:
            raise
        except self.ray.exceptions.RayError as error:
            ended = queue.lost(member, type(error).__name__)
        else:
            ended = [] if outcome is None else queue.note(outcome)
        for each in ended:
            self.display.ended(0, each)

    def _stop(self) -> None:
        """Have every run that is under way saved and ended, and begin no other."""
        self.ray.get(self.actor.stop.remote(), timeout=self.timeout)
        for task, member in self.under_way.items():
            if member.name not in self.begun:
                self.ray.cancel(task)


class ProgressActor:
    """Collects progress events from the nodes, and says whether the sweep has been stopped."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Mapping[str, float] | None]] = []
        self.stopped = False

    def add(self, name: str, row: Mapping[str, float] | None) -> bool:
        """Add that a run has begun (None) or was evaluated; whether it must end."""
        self.events.append((name, row))
        return self.stopped

    def take(self) -> list[tuple[str, Mapping[str, float] | None]]:
        """The events since the last call."""
        events, self.events = self.events, []
        return events

    def stop(self) -> None:
        """Answer from now on that runs must end."""
        self.stopped = True


def make_run(
    folder: str, member: Member, device: str, allowed: list[str], actor: Any, timeout: float
) -> Outcome | None:
    """On a node: make a run.

    Args:
        folder: the sweep's.
        member: the run, whose parent is finished.
        device: "cpu" or "cuda".
        allowed: the user code that was named where the sweep was started.
        actor: the `ProgressActor`.
        timeout: seconds in which it must answer.

    Returns:
        How it ended; None where the sweep was stopped before it began.
    """
    import ray
    import torch

    from mechgrok.sweeps.making import attempt

    if not (Path(folder) / PLAN).is_file():
        why = (
            f"{folder} is not there on the node {socket.gethostname()}: sweep into a folder on a "
            "path that all nodes share."
        )
        return Outcome(member, "failed", why)
    for name in allowed:
        user_code.allow(name)
    torch.set_num_threads(1)
    sent = 0.0

    def must_stop(row: Mapping[str, float] | None) -> bool:
        stopped: bool = ray.get(actor.add.remote(member.name, row), timeout=timeout)
        return stopped

    def progress(row: Mapping[str, float]) -> None:
        nonlocal sent
        if time.monotonic() - sent < _CHECK_EVERY:
            return
        sent = time.monotonic()
        if must_stop(row):
            signal.raise_signal(signal.SIGINT)

    if must_stop(None):
        return None
    return attempt(Path(folder), member, device=device, progress=progress)


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
    """Ray, connected to the cluster; a cluster that is started here ends here.

    Raises:
        UserError: it cannot connect.
    """
    ray = _ray()
    # Workers of a cluster that is started here would wait for all other programs otherwise.
    os.environ.setdefault("RAY_worker_niceness", "0")
    quiet = {"log_to_driver": False, "logging_level": "error", "configure_logging": False}
    try:
        # Without an address Ray joins the cluster that this machine is in, or starts one.
        ray.init(None if address == "auto" else address, include_dashboard=False, **quiet)
    except (ConnectionError, RuntimeError, TimeoutError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise UserError(f"Ray cannot connect to {address}: {first}") from None
    try:
        yield ray
    finally:
        ray.shutdown()


def _join(address: str, timeout: float) -> None:
    """Try to connect in a process that can be ended: Ray itself would wait for minutes.

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
    """Check that something listens at ``host:port``, before Ray waits for minutes.

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
        socket.create_connection((host, int(port)), timeout=min(timeout, _CONNECT_WITHIN)).close()
    except (OSError, OverflowError) as error:
        raise UserError(
            f"Nothing answers at {address} ({error}): start a cluster there with ray start --head."
        ) from None
