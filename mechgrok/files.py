"""Reading regular files only, and writing files atomically.

In place of a file there may be a named pipe, on which a reader would wait for ever, or a device
that never ends. `open_plain` and the functions built on it refuse these.
"""

import glob
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from mechgrok.errors import UserError

#: Largest text file that is read, in bytes: configurations, plans, metrics.
LARGEST_TEXT = 2**30

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NotPlain(OSError):
    """A path that should be a regular file is a pipe, a device, a socket or a folder."""


def check_plain(path: str | Path) -> os.stat_result:
    """``os.stat`` of a regular file, following links; the file is not opened.

    Raises:
        OSError: it does not exist; `NotPlain` if it is a pipe, a device, a socket or a folder.
    """
    return _plain(os.stat(path))


def _plain(found: os.stat_result) -> os.stat_result:
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
        raise NotPlain(f"it is {kind}, not a file")
    return found


def open_plain(path: str | Path) -> BinaryIO:
    """Open a regular file for reading bytes, following links, without ever blocking.

    Raises:
        OSError: it cannot be opened; `NotPlain` if it is not a regular file.
    """
    return open(_opened(path, os.O_RDONLY), "rb")


def _opened(path: str | Path, flags: int) -> int:
    """The descriptor of a regular file. Devices are not opened: that alone can have effects."""
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
    """The contents of a regular file.

    Args:
        path: the file.
        largest: the largest size allowed, in bytes; no limit unless given.

    Raises:
        OSError: the file cannot be read, is not regular, or is larger.
    """
    with open_plain(path) as file:
        if largest is None:
            return file.read()
        if os.fstat(file.fileno()).st_size > largest:
            raise OSError(f"it is larger than {largest:,} bytes")
        return file.read(largest)  # It may have grown since.


def read_text(path: str | Path, largest: int = LARGEST_TEXT) -> str:
    """The contents of a regular text file, decoded as UTF-8, with line ends as newlines.

    Raises:
        OSError: as for `read_bytes`.
        UnicodeDecodeError: the file is not UTF-8.
    """
    return read_bytes(path, largest).decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file atomically: ``write`` fills a temporary file, which is then renamed to ``path``.

    Readers see the old file or the new one, never a partial one, even after a crash. Permissions
    follow the umask.

    Raises:
        UserError: the disk is full or the folder is not writable; the temporary file is removed.
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
    """Refuse to replace a device file, which root could otherwise do by accident."""
    with suppress(FileNotFoundError):
        found = os.stat(path).st_mode
        if stat.S_ISCHR(found) or stat.S_ISBLK(found):
            raise NotPlain("it is a device, not a file")


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` as UTF-8, atomically."""
    write_whole(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def append_text(path: Path, text: str) -> None:
    """Append ``text`` to ``path`` as UTF-8 and flush it to the disk.

    A kill in the middle can leave part of the text at the end of the file; readers stop at the last
    newline.

    Raises:
        UserError: the disk is full or the file is not writable; the file is unchanged.
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


def remove_partials(folder: Path) -> None:
    """Delete the temporary files that killed processes left in a folder.

    Call it only while holding the folder's lock.
    """
    for file in folder.glob(".*.partial"):
        file.unlink(missing_ok=True)


def remove_abandoned(folder: Path, name: str = "*") -> None:
    """Delete the temporary files of dead processes in a folder that several processes write to.

    Files of living processes, and young ones, which another machine may be writing, are kept.

    Args:
        folder: the folder to clean.
        name: the file or folder that was being written; a pattern.
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


def cache_folder() -> Path:
    """The folder of downloads and opened example runs: ``MECHGROK_DATA``, or the user's cache."""
    import pooch

    return Path(os.environ.get("MECHGROK_DATA") or pooch.os_cache("mechgrok"))


def make_folder(path: Path) -> None:
    """Create the folder for results and its parents, and clean up temporary files in it.

    Raises:
        UserError: it cannot be created.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        remove_abandoned(path)
    except OSError as error:
        raise UserError(
            f"The folder {path} cannot be created ({error}): choose another with --out."
        ) from None


@contextmanager
def new_folder(out: str | Path) -> Iterator[Path]:
    """A temporary folder that replaces ``out`` on success.

    Raises:
        UserError: ``out`` is not an empty folder, or is not writable.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is not an empty folder: choose another folder.")
    remove_abandoned(out.parent, glob.escape(out.name))
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        partial.mkdir(parents=True)
        yield partial
        os.replace(partial, out)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, OSError):
            raise UserError(
                f"{out} could not be written ({error}): free some space or choose another folder."
            ) from error
        raise


def ensure_writable(path: Path) -> None:
    """Create the folder of an output file and check that the file can be written.

    Call it before long computations whose result goes to the file.

    Raises:
        UserError: the path is a folder or not writable.
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
