"""What a person did wrong, as opposed to what the program did wrong."""

import sys
import traceback
import warnings
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class UserError(ValueError):
    """A mistake that the person at the keyboard can mend.

    Its message is one sentence that names the thing, the value and the remedy. The command line
    prints it alone and exits with code 2; anything else that is raised is a bug and keeps its
    traceback.
    """

    #: What the command line exits with.
    exit_code = 2


class ExternalError(UserError):
    """Something outside failed that was right as it was asked for: a disk, a browser, a network.

    The command line prints its sentence and exits with code 1.
    """

    exit_code = 1


def choices(values: object) -> str:
    """The members of an iterable as a reader expects them in a sentence: ``a, b or c``."""
    words = [str(value) for value in values]  # type: ignore[attr-defined]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def near(name: object, known: object) -> str:
    """A question after the known word most like ``name``; empty where none is like it."""
    close = get_close_matches(str(name), [str(word) for word in known], 1)  # type: ignore[attr-defined]
    return f" (did you mean {close[0]}?)" if close else ""


def sentence(error: "ValidationError", what: str, known: Iterable[str] = ()) -> str:
    """The first complaint of a pydantic error as one sentence about ``what``.

    Args:
        error: what pydantic raised.
        what: the thing that was configured.
        known: its options, of which one like an unknown one is offered.
    """
    first = error.errors()[0]
    if isinstance(cause := first.get("ctx", {}).get("error"), UserError):
        return str(cause)
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"The {what} has no option {field!r}{near(first['loc'][-1], known)}."
    message = first["msg"][0].lower() + first["msg"][1:]
    return f"The {what} was given {field} = {first['input']!r}: {message}."


#: What libraries say where memory cannot be had.
_LACKING = (
    "allocate memory",
    "failed to map segment",
    "alloc_cpu",
    "bad_alloc",
    "out of memory",
    "start new thread",
)


def lacks_memory(error: BaseException | None) -> bool:
    """Whether an error, or what it came from, is that there is too little memory."""
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        if isinstance(error, ImportError | RuntimeError | OSError) and any(
            word in str(error) for word in _LACKING
        ):
            return True
        error = error.__cause__ or error.__context__
    return False


#: What is said then.
TOO_LITTLE_MEMORY = (
    "There is too little memory for this command: raise the limit (ulimit -v), end other programs, "
    "or take fewer checkpoints with --steps."
)


def in_a_sentence(error: BaseException) -> str:
    """What was raised, its message, and where: what is left of a traceback in a line."""
    if isinstance(error, UserError):
        return str(error)
    if lacks_memory(error):
        return TOO_LITTLE_MEMORY
    message = str(error).strip().partition("\n")[0]
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}{f': {message}' if message else ''}{where}"


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn the code that called this package: the warning points at its line."""
    frame, level = sys._getframe(), 1
    ours = ("mechgrok", "contextlib")
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in ours:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
