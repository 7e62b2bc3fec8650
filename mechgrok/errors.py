"""What a person did wrong, as opposed to what the program did wrong."""


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
