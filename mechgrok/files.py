"""Writing files so that each is whole or absent, whatever happens meanwhile."""

import os
from collections.abc import Callable
from pathlib import Path

from mechgrok.errors import UserError


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a file beside ``path``, flush it to the disk, then rename it to ``path``.

    A reader sees the old file or the new one, never a part of one, also after a crash.

    Raises:
        UserError: the disk is full or the folder cannot be written; the file beside is removed.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        write(beside)
        descriptor = os.open(beside, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(beside, path)
    except Exception as error:
        beside.unlink(missing_ok=True)
        # safetensors reports the operating system's errors as its own kind.
        if isinstance(error, OSError) or type(error).__name__ == "SafetensorError":
            raise UserError(
                f"{path} could not be written ({error}); what was there before is untouched: "
                "free some space or choose another folder."
            ) from error
        raise
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` as UTF-8, whole or not at all."""
    write_whole(path, lambda beside: beside.write_text(text, encoding="utf-8"))
