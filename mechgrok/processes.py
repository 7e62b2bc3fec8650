"""Processes that are started on this machine and end with the process that started them.

Each is a fresh Python at the other end of a pipe: no fork, and nothing of ``multiprocessing``, so
that scripts without a ``__main__`` guard and notebooks can start one.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from multiprocessing import connection, parent_process
from typing import Any

from mechgrok import user_code

_BOOT = (
    "import json, sys; path, *start = json.loads(sys.argv[1]); sys.path[:] = path; "
    "from mechgrok.processes import _serve; _serve(*start)"
)
#: In a process that was started here: each SIGINT that arrived while nothing could be interrupted.
interrupts: list[Any] = []
#: Seconds without work after which a process is stuck, and the seconds of a core that are work.
STUCK_AFTER, _LEAST_SECONDS = 120.0, 0.1
#: Seconds in which a process must end.
_TO_END = 10.0


def start(
    serve: Callable[..., None], *arguments: Any
) -> tuple["subprocess.Popen[bytes]", connection.Connection]:
    """A new process that calls ``serve(connection, *arguments)``, and this end of the connection.

    It computes with one thread, prints nothing to stdout, and does not receive the terminal's
    Ctrl-C.

    Args:
        serve: a function of a module, which returns when the connection is closed.
        arguments: values that JSON can hold.
    """
    ours, theirs = connection.Pipe()
    called = [serve.__module__, serve.__qualname__, list(arguments)]
    given = json.dumps([sys.path, user_code.allowed(), theirs.fileno(), os.getpid(), *called])
    # Python starts with SIGINT blocked: one that arrives now waits until it can be noted.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, given],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()
    return process, ours


def _serve(
    allowed: list[str],
    descriptor: int,
    parent: int,
    module: str,
    name: str,
    arguments: list[Any],
) -> None:
    """In the new process: serve, with the user code allowed that was named in the old one."""
    signal.signal(signal.SIGINT, lambda *how: interrupts.append(how))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    exit_with_parent(parent)
    for each in allowed:
        user_code.allow(each)
    getattr(import_module(module), name)(connection.Connection(descriptor), *arguments)


def exit_with_parent(parent: int) -> None:
    """End this process as soon as its parent has ended, in whatever way.

    Args:
        parent: the parent's id, from before this process began: the parent may be gone already.
    """
    # The fork server of multiprocessing may stand between the two, and outlives the parent.
    started = parent_process()
    if started is None and sys.platform == "linux":
        import ctypes

        # It works in a long call into C too, during which no other Python thread runs.
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG

    def watch() -> None:
        if started is not None:
            connection.wait([started.sentinel])
        else:
            while os.getppid() == parent:
                time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class Activity:
    """Whether a process with a task is computing.

    Nobody knows how long a task may take. But a process that is stuck (without memory some
    libraries wait for ever) or stopped uses no time of any core.
    """

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process, self._seconds, self._since = process, -1.0, time.monotonic()

    def is_stuck(self) -> bool:
        """Whether it has not computed for `STUCK_AFTER` seconds; call this regularly."""
        import psutil

        try:
            times = psutil.Process(self._process.pid).cpu_times()
        except psutil.Error:
            return False  # The process has ended.
        if (seconds := times.user + times.system) > self._seconds + _LEAST_SECONDS:
            self._seconds, self._since = seconds, time.monotonic()
        return time.monotonic() - self._since > STUCK_AFTER


def end(process: "subprocess.Popen[bytes]") -> int:
    """Wait for a process that is ending, and kill one that does not; its exit code."""
    for seconds in (_TO_END, _TO_END):
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
    return -signal.SIGKILL  # It waits for a disk that does not answer.


def usable_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
