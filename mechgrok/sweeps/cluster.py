"""Training a sweep on a cluster with Ray Core: one task per run, with one core and one thread.

All nodes share the path of the sweep's folder, so that only progress events travel between them,
and the files are the same as on one machine. After a node fails, its runs are resumed elsewhere
from their last checkpoints.
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
#: Timeout in seconds of a TCP connection to the head.
_CONNECT_TIMEOUT = 10
#: Submitted tasks per core.
_TASKS_PER_CORE = 4


@dataclass(frozen=True)
class Cluster:
    """An executor on the nodes of a Ray cluster.

    Attributes:
        address: ``host:port`` of its head; "auto" for this machine's cluster (from RAY_ADDRESS or
            ``ray start``), or without one for a local cluster that ends with the sweep.
        device: "cpu"; or "cuda" for one GPU per run.
        timeout: timeout in seconds of each request to the cluster.
    """

    address: str = "auto"
    device: str = "cpu"
    timeout: float = 60.0

    def check(self) -> None:
        """Check that the cluster exists, before anything is written.

        Raises:
            UserError: Ray is not installed, or nothing answers at the address.
            ExternalError: the address does not answer as a cluster in time.
        """
        _ray()
        address = os.environ.get("RAY_ADDRESS", "auto") if self.address == "auto" else self.address
        if self.address != "auto" or (":" in address and "/" not in address):
            _check_address(address, self.timeout)
            _check_connection(address, self.timeout)

    def __call__(
        self, folder: Path, members: Sequence[Member], *, done: Sequence[str], display: Display
    ) -> list[Outcome]:
        """Train ``members``; see `mechgrok.sweeps.executor.Executor`.

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
                    f"The Ray cluster did not answer within {self.timeout:g} seconds: make sure "
                    "that its head runs, and continue with mechgrok sweep --resume."
                ) from None


class _Tasks:
    """The Ray tasks of one sweep.

    Args:
        ray: the module, connected to the cluster.
        folder: the absolute path of the sweep's folder, the same on all nodes.
        cluster: the executor, for its device and timeout.
        display: receives progress events.
    """

    def __init__(self, ray: Any, folder: Path, cluster: Cluster, display: Display) -> None:
        self.ray, self.folder, self.display = ray, folder, display
        self.device, self.timeout = cluster.device, cluster.timeout
        self.began = time.monotonic()
        this_node = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        self.actor = ray.remote(num_cpus=0, scheduling_strategy=this_node)(ProgressActor).remote()
        gpus = 1 if self.device == "cuda" else 0
        # Ray must not retry: the queue retries lost runs, and counts the attempts.
        self.make = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)(make_run)
        self.submitted: dict[Any, Member] = {}
        self.begun: set[str] = set()

    def run(self, queue: Queue) -> list[Outcome]:
        """Train all runs in the queue; after Ctrl-C, save and end the submitted ones."""
        stopped = False
        with interrupts() as interrupted:
            while True:
                if interrupted and not stopped:
                    self._stop()
                    stopped = True
                if not stopped:
                    self._submit(queue)
                if not self.submitted:
                    return queue.outcomes
                self._check_resources()
                ready, _ = self.ray.wait(list(self.submitted), timeout=_CHECK_EVERY)
                self._show_progress()
                for task in ready:
                    self._end(task, queue)

    def _check_resources(self) -> None:
        """Check that a node can run the tasks, once nodes have had time to start.

        Raises:
            ExternalError: the cluster has no core, or no GPU for device "cuda".
        """
        needed = "GPU" if self.device == "cuda" else "CPU"
        if self.begun or time.monotonic() - self.began < self.timeout:
            return
        if self.ray.cluster_resources().get(needed, 0) < 1:
            raise ExternalError(
                f"The Ray cluster has had no node with a {needed} for {self.timeout:g} seconds: "
                "add one (ray start --address=…), or omit --ray."
            )

    def _submit(self, queue: Queue) -> None:
        cores = max(1, int(self.ray.cluster_resources().get("CPU", 1)))
        while len(self.submitted) < cores * _TASKS_PER_CORE and (member := queue.next()):
            arguments = (self.device, user_code.allowed(), self.actor, self.timeout)
            self.submitted[self.make.remote(str(self.folder), member, *arguments)] = member

    def _show_progress(self) -> None:
        members = {member.name: member for member in self.submitted.values()}
        for name, row in self.ray.get(self.actor.take.remote(), timeout=self.timeout):
            if name not in members:
                continue
            if row is None:
                self.begun.add(name)
                self.display.began(0, members[name])
            else:
                self.display.row(0, members[name], row)

    def _end(self, task: Any, queue: Queue) -> None:
        """Record the outcome of a task that has ended."""
        member = self.submitted.pop(task)
        try:
            outcome = self.ray.get(task, timeout=self.timeout)
        except self.ray.exceptions.TaskCancelledError:
            return
        except self.ray.exceptions.GetTimeoutError:
            raise
        except self.ray.exceptions.RayError as error:
            outcomes = queue.lost(member, type(error).__name__)
        else:
            outcomes = [] if outcome is None else queue.note(outcome)
        for outcome in outcomes:
            self.display.ended(0, outcome)

    def _stop(self) -> None:
        """Have all running tasks saved and ended, and cancel the others."""
        self.ray.get(self.actor.stop.remote(), timeout=self.timeout)
        for task, member in self.submitted.items():
            if member.name not in self.begun:
                self.ray.cancel(task)


class ProgressActor:
    """Collects progress events from the nodes, and tells them when the sweep is stopped."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Mapping[str, float] | None]] = []
        self.stopped = False

    def add(self, name: str, row: Mapping[str, float] | None) -> bool:
        """Add the event that a run began (None) or was evaluated; returns whether it must end."""
        self.events.append((name, row))
        return self.stopped

    def take(self) -> list[tuple[str, Mapping[str, float] | None]]:
        """The events since the last call."""
        events, self.events = self.events, []
        return events

    def stop(self) -> None:
        """Tell runs from now on that they must end."""
        self.stopped = True


def make_run(
    folder: str, member: Member, device: str, allowed: list[str], actor: Any, timeout: float
) -> Outcome | None:
    """On a node: train a run.

    Args:
        folder: the sweep's folder.
        member: the run; its parent must be finished.
        device: "cpu" or "cuda".
        allowed: the user code that the sweep's user allowed.
        actor: the `ProgressActor`.
        timeout: timeout in seconds of a call of the actor.

    Returns:
        The outcome; None if the sweep was stopped before the run began.
    """
    import ray
    import torch

    from mechgrok.sweeps.making import attempt

    if not (Path(folder) / PLAN).is_file():
        reason = (
            f"{folder} does not exist on the node {socket.gethostname()}: sweep into a folder on a "
            "path that all nodes share."
        )
        return Outcome(member, "failed", reason)
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
    """Import the module ``ray``.

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
    """A context that yields Ray, connected to the cluster; a local cluster ends with it.

    Raises:
        UserError: Ray cannot connect.
    """
    ray = _ray()
    # By default the workers of a local cluster have the lowest priority.
    os.environ.setdefault("RAY_worker_niceness", "0")
    quiet = {"log_to_driver": False, "logging_level": "error", "configure_logging": False}
    try:
        # Without an address Ray connects to this machine's cluster, or starts one.
        ray.init(None if address == "auto" else address, include_dashboard=False, **quiet)
    except (ConnectionError, RuntimeError, TimeoutError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise UserError(f"Ray cannot connect to {address}: {first}") from None
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_connection(address: str, timeout: float) -> None:
    """Try to connect in a process with a timeout; Ray itself would wait for minutes.

    Raises:
        ExternalError: the server is not a cluster, or does not answer in time.
    """
    script = "import sys, ray; ray.init(sys.argv[1], log_to_driver=False, logging_level='error')"
    try:
        process = subprocess.run(
            [sys.executable, "-c", script, address],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ExternalError(
            f"The server at {address} did not answer as a Ray cluster within {timeout:g} seconds: "
            "make sure that ray start --head runs there, or wait longer with --ray-timeout."
        ) from None
    if process.returncode:
        lines = process.stderr.decode(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else f"exit code {process.returncode}"
        raise ExternalError(f"Ray cannot connect to {address}: {reason}")


def _check_address(address: str, timeout: float) -> None:
    """Check that a server listens at ``host:port``; Ray would wait for minutes.

    Raises:
        UserError: the address is invalid, or nothing listens there.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not port.isascii() or "/" in host:
        raise UserError(
            f"{address!r} is not the address of a Ray cluster: give host:port, as printed by ray "
            "start, or auto."
        )
    try:
        socket.create_connection((host, int(port)), timeout=min(timeout, _CONNECT_TIMEOUT)).close()
    except (OSError, OverflowError) as error:
        raise UserError(
            f"Nothing answers at {address} ({error}): start a cluster there with ray start --head."
        ) from None
