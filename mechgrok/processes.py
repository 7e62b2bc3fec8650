"""Processes that this package starts on this machine, of which none outlives the one that asked.

One that is started here is a fresh Python at the other end of a pipe: no fork and none of
``multiprocessing``'s, so that scripts without a ``__main__`` guard and notebooks can start it.
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
#: In a process that was started here: each SIGINT that came while nothing could be interrupted.
interrupts: list[Any] = []
#: Seconds without work after which a process is stuck, and what a core's time counts as work.
STUCK_AFTER, _LEAST_SECONDS = 120.0, 0.1
#: Seconds in which a process ends.
_TO_END = 10.0


def start(
    serve: Callable[..., None], *arguments: Any
) -> tuple["subprocess.Popen[bytes]", connection.Connection]:
    """A new process that calls ``serve(connection, *arguments)``, and this end of the connection.

    It computes with one thread, prints nothing to stdout, and is spared the terminal's Ctrl-C.

    Args:
        serve: a function of a module, which returns when the connection is closed.
        arguments: what JSON can hold.
    """
    ours, theirs = connection.Pipe()
    called = [serve.__module__, serve.__qualname__, list(arguments)]
    told = json.dumps([sys.path, user_code.allowed(), theirs.fileno(), os.getpid(), *called])
    # Python starts with SIGINT held back: one that comes now waits until it can be noted.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, told],
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
    """In the new process: serve, with the code allowed that a person has named in the old one."""
    signal.signal(signal.SIGINT, lambda *how: interrupts.append(how))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    end_with(parent)
    for each in allowed:
        user_code.allow(each)
    getattr(import_module(module), name)(connection.Connection(descriptor), *arguments)


def end_with(parent: int) -> None:
    """Let this process end at once when the one that asked for it is gone, however it went.

    Args:
        parent: the number of that process; it was noted before this one began, so that a parent
            that is gone already is missed too.
    """
    # Between the two may stand multiprocessing's fork server, which outlives the one that asked.
    started = parent_process()
    if started is None and sys.platform == "linux":
        import ctypes

        # Even in a long call into C, in which no thread of Python's has its turn.
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
    """Whether a process that has something to compute computes.

    How long work may take nobody knows. But a process that is stuck (one that found no memory can
    wait for ever inside a library) or stopped uses no time of any core.
    """

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process, self._seconds, self._since = process, -1.0, time.monotonic()

    def is_stuck(self) -> bool:
        """Whether it has not computed for `STUCK_AFTER` seconds; to be called now and then."""
        import psutil

        try:
            times = psutil.Process(self._process.pid).cpu_times()
        except psutil.Error:
            return False  # It has ended.
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
    return -signal.SIGKILL  # A disk that does not answer holds it.


def usable_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
