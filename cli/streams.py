"""Standard output and error that survive any encoding and a full device."""

import io
import sys
from contextlib import suppress
from typing import Any


def prepare_streams() -> None:
    """Keep unencodable characters and failing writes from ending a command.

    Characters outside the shell's encoding print as question marks; failed writes to stderr, which
    shows progress, are dropped.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if not isinstance(sys.stderr, Lossy):
        sys.stderr = Lossy(sys.stderr)


class Lossy:
    """A stream whose writes never fail.

    >>> Lossy(io.StringIO()).write("step 10")
    7
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write as much as possible; return the length of the text."""
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, ignoring errors."""
        with suppress(OSError):
            self._stream.flush()
