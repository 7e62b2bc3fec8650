"""Errors of users and of the environment, as opposed to bugs, and their messages."""

import sys
import traceback
import warnings
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class UserError(ValueError):
    """A mistake that the user can correct.

    The message is one sentence that names the object, the value and the remedy. The command line
    prints only the message and exits with code 2. Any other exception is a bug and keeps its
    traceback.
    """

    #: Exit code of the command line.
    exit_code = 2


class ExternalError(UserError):
    """A valid request failed because of the environment: a disk, a browser, a network.

    The command line prints the message and exits with code 1.
    """

    exit_code = 1


class NotApplicable(UserError):
    """An analysis does not apply to a run, although its files are intact; reports skip it."""


def choices(values: object) -> str:
    """The members of an iterable as a phrase: ``a, b or c``."""
    words = [str(value) for value in values]  # type: ignore[attr-defined]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def near(name: object, known: object) -> str:
    """A hint with the known name closest to ``name``: `` (did you mean clip?)``; or empty."""
    close = get_close_matches(str(name), [str(word) for word in known], 1)  # type: ignore[attr-defined]
    return f" (did you mean {close[0]}?)" if close else ""


def sentence(
    error: "ValidationError",
    what: str,
    known: Iterable[str] = (),
    owners: Callable[[str], Iterable[str]] = lambda option: (),
) -> str:
    """The first error of a pydantic ValidationError as one sentence.

    Args:
        error: the validation error.
        what: the configured object, such as ``task add``.
        known: its options, to suggest one for a misspelled name.
        owners: gives the names of other objects of the kind that have an option.
    """
    first = error.errors()[0]
    if isinstance(cause := first.get("ctx", {}).get("error"), UserError):
        return str(cause)
    # Pydantic names the members of a union too: tuple[int, ...].
    field = ".".join(part for part in map(str, first["loc"]) if "[" not in part)
    if first["type"] == "extra_forbidden":
        if having := list(owners(field)):
            kind = what.partition(" ")[0]
            return (
                f"The {what} has no option {field!r}, which belongs to {choices(having)}: "
                f"choose that {kind} too (--{kind} {having[0]})."
            )
        return f"The {what} has no option {field!r}{near(first['loc'][-1], known)}."
    if first["type"] == "missing":
        return f"The {what} needs {field}: give it a value."
    message = first["msg"][0].lower() + first["msg"][1:]
    return f"The {what} was given {field} = {first['input']!r}: {message}."


#: Parts of messages by which libraries report failed allocations.
_LACKING = (
    "allocate memory",
    "failed to map segment",
    "alloc_cpu",
    "bad_alloc",
    "out of memory",
    "start new thread",
)


def lacks_memory(error: BaseException | None) -> bool:
    """Whether an error or one of its causes is a lack of memory."""
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        if isinstance(error, ImportError | RuntimeError | OSError) and any(
            word in str(error) for word in _LACKING
        ):
            return True
        error = error.__cause__ or error.__context__
    return False


#: The message for it.
TOO_LITTLE_MEMORY = (
    "There is too little memory for this command: raise the limit (ulimit -v), end other programs, "
    "or take fewer checkpoints with --steps."
)


def in_a_sentence(error: BaseException) -> str:
    """An exception as one line: its type, message, file and line; a deadline: its message."""
    if isinstance(error, UserError):
        return str(error)
    if lacks_memory(error):
        return TOO_LITTLE_MEMORY
    message = str(error).strip().partition("\n")[0]
    if isinstance(error, TimeoutError) and message:
        return message
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}{f': {message}' if message else ''}{where}"


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Issue a warning that points at the line that called this package."""
    frame, level = sys._getframe(), 1
    ours = ("mechgrok", "contextlib")
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in ours:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
