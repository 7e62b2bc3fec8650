"""Standard output and error of whatever shell there is: any encoding, and full devices."""

import io
import sys
from contextlib import suppress
from typing import Any


def prepare_streams() -> None:
    """Let no letter and no full device end a command.

    Letters that the shell's encoding lacks are shown as question marks, and what stderr, which
    shows progress, does not take is lost.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if not isinstance(sys.stderr, Lossy):
        sys.stderr = Lossy(sys.stderr)


class Lossy:
    """A stream to which writing never fails.

    >>> Lossy(io.StringIO()).write("step 10")
    7
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write what can be written; the length of the text."""
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Send on what can be sent on."""
        with suppress(OSError):
            self._stream.flush()
