"""A lock that allows one writer per run folder."""

import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mechgrok.errors import ExternalError, UserError
from mechgrok.files import read_text

LOCK, HOLDER = ".lock", ".writer.json"
_LARGEST_HOLDER = 2**16
#: Seconds that a disk may take to answer flock.
_FLOCK_TIMEOUT = 20.0


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Lock a folder for writing, and create it if it does not exist.

    The lock is the operating system's (flock), works on shared disks, is reentrant, and is released
    when its process ends.

    Raises:
        UserError: another process holds the lock (the message names it), or the folder cannot be
            created or written.
        ExternalError: the disk does not answer.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: choose another folder with --out.")
    is_new = not folder.exists()
    try:
        with _locked(folder) as outermost:
            if outermost:
                _sign(folder)
            yield
    finally:
        if is_new:
            with suppress(OSError):
                folder.rmdir()


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Create and lock a folder; yields whether this process did not hold the lock before."""
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.resolve() / LOCK, timeout=0, is_singleton=True)
        if outermost := not lock.is_locked:
            _check_locks(folder)
        lock.acquire()
    except Timeout:
        raise UserError(
            f"Another process{_holder(folder)} is writing to {folder}: wait until it has ended, or "
            "choose another folder with --out."
        ) from None
    except OSError as error:
        raise UserError(f"The folder {folder} cannot be created or written ({error}).") from None
    try:
        yield outermost
    finally:
        if outermost:
            for name in (HOLDER, LOCK):
                with suppress(OSError):
                    (folder / name).unlink(missing_ok=True)
        lock.release()


def _check_locks(folder: Path) -> None:
    """Check that the disk answers flock.

    Python repeats an interrupted flock, so it would hang on a disk that does not answer, or that
    interrupts every call (some network disks do, under signals). Therefore a thread first tries a
    shared lock on the folder, which blocks no other process.

    Raises:
        ExternalError: no answer in `_FLOCK_TIMEOUT` seconds.
    """

    def try_lock() -> None:
        with suppress(OSError):  # Some disks cannot lock folders; that is an answer too.
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            finally:
                os.close(descriptor)

    thread = threading.Thread(target=try_lock, daemon=True)
    thread.start()
    thread.join(_FLOCK_TIMEOUT)
    if thread.is_alive():
        raise ExternalError(
            f"The disk of {folder} did not answer flock within {_FLOCK_TIMEOUT:g} seconds: try "
            "again, or choose a folder on another disk."
        )


def _sign(folder: Path) -> None:
    """Write which process holds the lock; only messages use it, so errors are ignored."""
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    with suppress(OSError):
        text = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since})
        (folder / HOLDER).unlink(missing_ok=True)
        with open(folder / HOLDER, "x", encoding="utf-8") as file:  # never into a pipe
            file.write(text)


def _holder(folder: Path) -> str:
    try:
        holder = json.loads(read_text(folder / HOLDER, _LARGEST_HOLDER))
        return f" ({holder['pid']} on {holder['host']} since {holder['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
