"""One writer per run folder."""

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
#: Seconds in which a disk says whether it locks.
_ANSWERED_WITHIN = 20.0


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Hold a folder for writing while it lasts; it is made if it is not there.

    The lock is the operating system's (flock), also on shared disks, and ends with its process
    however that ends. Who holds it may take it again within.

    Raises:
        UserError: another process holds the folder (the message says which), or it cannot be made
            or written.
        ExternalError: the disk does not answer.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: choose another folder with --out.")
    made = not folder.exists()
    try:
        with _locked(folder) as outermost:
            if outermost:
                _sign(folder)
            yield
    finally:
        if made:
            with suppress(OSError):
                folder.rmdir()


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Hold the lock of a folder, which is made; whether this process did not hold it before."""
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.resolve() / LOCK, timeout=0, is_singleton=True)
        if outermost := not lock.is_locked:
            _check_locks(folder)
        lock.acquire()
    except Timeout:
        raise UserError(
            f"{folder} is being written by {_holder(folder)}: wait until it has ended, or choose "
            "another folder with --out."
        ) from None
    except OSError as error:
        raise UserError(f"The folder {folder} cannot be made or written ({error}).") from None
    try:
        yield outermost
    finally:
        if outermost:
            for name in (HOLDER, LOCK):
                with suppress(OSError):
                    (folder / name).unlink(missing_ok=True)
        lock.release()


def _check_locks(folder: Path) -> None:
    """Look whether the disk answers to flock at all.

    One that interrupts it each time (some on networks do, under signals) or does not answer would
    be asked for ever: Python repeats an interrupted flock. So a thread asks first, for a shared
    lock on the folder, which disturbs nobody.

    Raises:
        ExternalError: no answer in `_ANSWERED_WITHIN` seconds.
    """

    def ask() -> None:
        with suppress(OSError):  # Some disks lock no folders; that is an answer too.
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            finally:
                os.close(descriptor)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_ANSWERED_WITHIN)
    if asking.is_alive():
        raise ExternalError(
            f"The disk of {folder} did not answer within {_ANSWERED_WITHIN:g} seconds whether the "
            "folder can be locked (flock): try again, or choose a folder on another disk."
        )


def _sign(folder: Path) -> None:
    """Leave word of who writes here; for messages alone, so that a full disk does not matter."""
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    with suppress(OSError):
        text = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since})
        (folder / HOLDER).unlink(missing_ok=True)
        with open(folder / HOLDER, "x", encoding="utf-8") as file:  # never into a pipe
            file.write(text)


def _holder(folder: Path) -> str:
    try:
        held = json.loads(read_text(folder / HOLDER, _LARGEST_HOLDER))
        return f"process {held['pid']} on {held['host']} since {held['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
