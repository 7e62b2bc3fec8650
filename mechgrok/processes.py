"""Processes that this package starts on this machine, of which none outlives the one that asked."""

import os
import signal
import sys
import threading
import time
from multiprocessing import connection, parent_process


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


def usable_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
