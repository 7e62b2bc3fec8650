"""What a person did wrong, as opposed to what the program did wrong."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class UserError(ValueError):
    """A mistake that the person at the keyboard can mend.

    Its message is one sentence that names the thing, the value and the remedy. The command line
    prints it alone and exits with code 2; anything else that is raised is a bug and keeps its
    traceback.
    """


def choices(values: object) -> str:
    """The members of an iterable as a reader expects them in a sentence: ``a, b or c``."""
    words = [str(value) for value in values]  # type: ignore[attr-defined]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def sentence(error: "ValidationError", what: str) -> str:
    """The first complaint of a pydantic error as one sentence about ``what``."""
    first = error.errors()[0]
    if isinstance(cause := first.get("ctx", {}).get("error"), UserError):
        return str(cause)
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"The {what} has no option {field!r}."
    message = first["msg"][0].lower() + first["msg"][1:]
    return f"The {what} was given {field} = {first['input']!r}: {message}."
