"""Writing files so that each is whole or absent, whatever happens meanwhile."""

import os
import shutil
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mechgrok.errors import UserError


def plain(path: Path, at_most: int | None = None) -> Path:
    """``path`` itself, to be opened: an ordinary file, a folder, or nothing at all.

    A named pipe that somebody put in place of a file would be waited for, and a device has no end.

    Args:
        path: what is about to be opened; links are followed.
        at_most: bytes that the file may have.

    Raises:
        OSError: it is something else, or larger.
    """
    try:
        found = path.stat()
    except OSError:
        return path  # Opening it says what is wrong.
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise OSError("it is a pipe, a socket or a device instead of a file")
    if at_most is not None and found.st_size > at_most:
        raise OSError(f"it has {found.st_size:,} bytes, more than such a file has")
    return path


def read_text(path: Path, at_most: int = 100_000_000) -> str:
    """The text of an ordinary file in UTF-8.

    Raises:
        OSError: it cannot be read, is no ordinary file, or has more bytes than ``at_most``.
        ValueError: it is not UTF-8.
    """
    return plain(path, at_most).read_text(encoding="utf-8")


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
        with open(plain(path), "ab", buffering=0) as file:
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
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        beside.touch()
        beside.unlink()
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error}): choose another --out.") from None
