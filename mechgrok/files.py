"""Reading plain files only, and writing files so that each is whole or absent.

Where a file is expected, something else may lie: a named pipe, on which a reader waits for ever, or
a device that never ends. `open_plain` and what is built on it refuse these.
"""

import os
import shutil
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from mechgrok.errors import UserError

#: Bytes of the largest text that is read whole: configurations, plans, metrics.
LARGEST_TEXT = 2**30

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NotPlain(OSError):
    """Something that is no plain file lies where one is to be read or written."""


def check_plain(path: str | Path) -> os.stat_result:
    """What the operating system says of a plain file; nothing is opened.

    Raises:
        OSError: it is not there; `NotPlain` where links lead to a pipe, a device, a socket or a
            folder.
    """
    return _plain(os.stat(path))


def _plain(found: os.stat_result) -> os.stat_result:
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
        raise NotPlain(f"it is {kind}, not a file")
    return found


def open_plain(path: str | Path) -> BinaryIO:
    """A plain file, opened to read bytes; links are followed.

    Whatever has taken the file's place, opening it does not wait.

    Raises:
        OSError: it cannot be opened; `NotPlain` where it is none.
    """
    return open(_opened(path, os.O_RDONLY), "rb")


def _opened(path: str | Path, flags: int) -> int:
    """The descriptor of a plain file. A device is not even opened, as that may do something."""
    if os.path.exists(path):
        check_plain(path)
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    try:
        _plain(os.fstat(descriptor))  # It may have been replaced since.
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_bytes(path: str | Path, largest: int | None = None) -> bytes:
    """What a plain file holds.

    Args:
        path: the file.
        largest: bytes that it may have; as many as it likes unless given.

    Raises:
        OSError: it cannot be read, is no plain file, or is larger.
    """
    with open_plain(path) as file:
        if largest is None:
            return file.read()
        if os.fstat(file.fileno()).st_size > largest:
            raise OSError(f"it is larger than {largest:,} bytes")
        return file.read(largest)  # It may have grown since.


def read_text(path: str | Path, largest: int = LARGEST_TEXT) -> str:
    """What a plain file of text holds, decoded as UTF-8, its line ends as they are on this system.

    Raises:
        OSError: as for `read_bytes`.
        UnicodeDecodeError: it is no UTF-8.
    """
    return read_bytes(path, largest).decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a file beside ``path``, flush it to the disk, then rename it to ``path``.

    A reader sees the old file or the new one, never a part of one, also after a crash. The file
    may be read by whom the umask lets read.

    Raises:
        UserError: the disk is full or the folder cannot be written; the file beside is removed.
    """
    from safetensors import SafetensorError

    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        _refuse_device(path)
        beside.touch()
        mode = beside.stat().st_mode
        write(beside)
        descriptor = os.open(beside, os.O_RDONLY)
        try:
            os.fchmod(descriptor, mode)  # safetensors makes its files private
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(beside, path)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        # safetensors reports the operating system's errors as its own kind.
        if isinstance(error, OSError | SafetensorError):
            raise UserError(
                f"{path} could not be written ({error}); what was there before is untouched: "
                "free some space or choose another folder."
            ) from error
        raise


def _refuse_device(path: Path) -> None:
    """Refuse to replace a device: whoever may write to /dev would lose it."""
    with suppress(FileNotFoundError):
        found = os.stat(path).st_mode
        if stat.S_ISCHR(found) or stat.S_ISBLK(found):
            raise NotPlain("it is a device, not a file")


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` as UTF-8, whole or not at all."""
    write_whole(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def append_text(path: Path, text: str) -> None:
    """Append ``text`` to ``path`` as UTF-8 and flush it to the disk.

    A kill in the middle can leave a part of it at the end of the file; readers look for the last
    newline.

    Raises:
        UserError: the disk is full or the file cannot be written; it is as it was before.
    """
    before: int | None = None
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        with open(_opened(path, flags), "ab", buffering=0) as file:
            before = file.tell()
            file.write(text.encode("utf-8"))
            if file.tell() < before + len(text.encode("utf-8")):
                raise OSError(28, "No space left on device")
            os.fsync(file.fileno())
    except OSError as error:
        if before is not None:
            os.truncate(path, before)
        raise UserError(
            f"{path} could not be written ({error}); what was there before is untouched: "
            "free some space or choose another folder."
        ) from error


def sweep_partials(folder: Path) -> None:
    """Delete what `write_whole` left half-written in a folder where its process was killed.

    To be called by the only one who writes there.
    """
    for file in folder.glob(".*.partial"):
        file.unlink(missing_ok=True)


def sweep_abandoned(folder: Path, name: str = "*") -> None:
    """Delete what killed processes left half-written in a folder where several write at once.

    What its process, or one on another machine, may still be writing is left alone.

    Args:
        folder: where to look.
        name: of the file or folder that was being written.
    """
    for left in folder.glob(f".{name}.*.partial"):
        process = left.name.split(".")[-2]
        with suppress(OSError):
            young = time.time() - left.stat().st_mtime < 60
            if not young and process.isdigit() and not _is_alive(int(process)):
                shutil.rmtree(left) if left.is_dir() else left.unlink()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # It is somebody else's.
        return True
    return True


def make_folder(path: Path) -> None:
    """Make the folder for results, and those above it; sweep what was left half-written there.

    Raises:
        UserError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        sweep_abandoned(path)
    except OSError as error:
        raise UserError(
            f"The folder {path} cannot be made ({error}): choose another with --out."
        ) from None


def make_room(path: Path) -> None:
    """Make the folder for a file that is to be written, and see that it can be, before the work.

    Raises:
        UserError: the path is a folder, or nothing can be written there.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder: name a file with --out, such as {path}/page.html.")
    make_folder(path.parent)
    try:
        _refuse_device(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error}): choose another --out.") from None
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        beside.touch()
        beside.unlink()
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error}): choose another --out.") from None
