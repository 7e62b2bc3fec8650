"""One writer per run folder."""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mechgrok.errors import UserError
from mechgrok.files import read_text

LOCK, HOLDER = ".lock", ".writer.json"
_LARGEST_HOLDER = 2**16


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Hold a folder for writing while it lasts; it is made if it is not there.

    The lock is the operating system's (flock), also on shared disks, and ends with its process
    however that ends. Who holds it may take it again within.

    Raises:
        UserError: another process holds the folder (the message says which), or it cannot be made
            or written.
    """
    from filelock import FileLock, Timeout

    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: choose another folder with --out.")
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.resolve() / LOCK, timeout=0, is_singleton=True)
        outermost = not lock.is_locked
        lock.acquire()
    except Timeout:
        raise UserError(
            f"{folder} is being written by {_holder(folder)}: wait until it has ended, or choose "
            "another folder with --out."
        ) from None
    except OSError as error:
        raise UserError(f"The folder {folder} cannot be made or written ({error}).") from None
    try:
        if outermost:
            _sign(folder)
        yield
    finally:
        if outermost:
            for name in (HOLDER, LOCK):
                with suppress(OSError):
                    (folder / name).unlink(missing_ok=True)
        lock.release()
        if made:
            with suppress(OSError):
                folder.rmdir()


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
