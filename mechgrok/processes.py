"""Starting child processes that end with their parent.

Each is a new Python interpreter with a pipe to its parent. It neither forks nor imports
``__main__``, so notebooks and scripts without a ``__main__`` guard can start one.
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
#: In a child: each SIGINT that arrived while nothing could be interrupted.
interrupts: list[Any] = []
#: Seconds without progress after which a process counts as stuck; CPU seconds that are progress.
STUCK_AFTER, _LEAST_SECONDS = 120.0, 0.1
#: Seconds in which a process must end.
_EXIT_TIMEOUT = 10.0


def start(
    serve: Callable[..., None], *arguments: Any
) -> tuple["subprocess.Popen[bytes]", connection.Connection]:
    """Start a process that calls ``serve(connection, *arguments)``; also returns our connection.

    The process has one thread and no stdout, and does not receive the terminal's Ctrl-C.

    Args:
        serve: a module-level function that returns when the connection is closed.
        arguments: JSON values.
    """
    ours, theirs = connection.Pipe()
    call = [serve.__module__, serve.__qualname__, list(arguments)]
    boot = json.dumps([sys.path, user_code.allowed(), theirs.fileno(), os.getpid(), *call])
    # The child starts with SIGINT blocked, so that it is delivered only once the child handles it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, boot],
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
    """In the child: allow the parent's user code, and call the function."""
    signal.signal(signal.SIGINT, lambda *event: interrupts.append(event))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    exit_with_parent(parent)
    for code in allowed:
        user_code.allow(code)
    getattr(import_module(module), name)(connection.Connection(descriptor), *arguments)


def exit_with_parent(parent: int) -> None:
    """End this process as soon as its parent has ended.

    Args:
        parent: the parent's id from before this process began; the parent may have ended already.
    """
    # The fork server of multiprocessing may be the direct parent, and outlives the real one.
    real_parent = parent_process()
    if real_parent is None and sys.platform == "linux":
        import ctypes

        # Unlike the thread below, this also ends a process during a long call into C.
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG

    def watch() -> None:
        if real_parent is not None:
            connection.wait([real_parent.sentinel])
        else:
            while os.getppid() == parent:
                time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class Activity:
    """Detects whether a busy process is stuck.

    A task may take any time, but a stuck process (some libraries wait forever without memory) or a
    stopped one uses no CPU time.
    """

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process, self._seconds, self._since = process, -1.0, time.monotonic()

    def is_stuck(self) -> bool:
        """Whether it has used no CPU time for `STUCK_AFTER` seconds; call this regularly."""
        import psutil

        try:
            times = psutil.Process(self._process.pid).cpu_times()
        except psutil.Error:
            return False  # The process has ended.
        if (seconds := times.user + times.system) > self._seconds + _LEAST_SECONDS:
            self._seconds, self._since = seconds, time.monotonic()
        return time.monotonic() - self._since > STUCK_AFTER


def end(process: "subprocess.Popen[bytes]") -> int:
    """Wait for a process to end, kill it after a timeout, and return its exit code."""
    for _ in range(2):
        try:
            return process.wait(_EXIT_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
    return -signal.SIGKILL  # The process is blocked by a disk that does not answer.


def usable_cores() -> int:
    """The number of cores available to this process."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
