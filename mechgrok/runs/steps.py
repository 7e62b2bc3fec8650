"""Checkpoints in words: ``0,2000``, ``0:30000:1000``, ``last``."""

from collections.abc import Iterable, Sequence
from operator import index

from mechgrok.errors import UserError


def parse_steps(text: str, steps: Sequence[int]) -> list[int]:
    """The steps that ``0,2000``, ``start:stop:every``, ``last`` or a mix of them name.

    A range takes those of ``steps`` in it that are multiples of ``every`` after ``start``; a single
    number is given back whether there is such a step or not.

    >>> parse_steps("0:100:50, last", [0, 25, 50, 75, 100, 125])
    [0, 50, 100, 125]

    Raises:
        UserError: the text is none of these, or selects nothing.
    """
    chosen: set[int] = set()
    for part in text.replace(" ", "").split(","):
        try:
            if part == "last":
                chosen.update(steps[-1:])
            elif ":" in part:
                start, stop, *rest = (_step(number or "0") for number in part.split(":"))
                every = max(1, rest[0] if rest else 1)
                stop = stop or max(steps, default=0)
                chosen.update(s for s in steps if start <= s <= stop and (s - start) % every == 0)
            else:
                chosen.add(_step(part))
        except ValueError:
            raise UserError(
                f"--steps {text} is not of the form 0,2000,30000 or 0:30000:1000 or last."
            ) from None
    if not chosen:
        raise UserError(f"--steps {text} selects no checkpoint.")
    return sorted(chosen)


def _step(text: str) -> int:
    """A step as people write it: ``30000``, ``30_000``, ``3e4``.

    Raises:
        ValueError: it is none.
    """
    if "e" not in text.lower():
        return int(text)
    number = float(text)
    if not number.is_integer() or abs(number) > 2**53:
        raise ValueError(text)
    return int(number)


def whole_numbers(steps: int | Iterable[int]) -> list[int]:
    """One step or several as plain numbers.

    >>> whole_numbers(30_000), whole_numbers(range(0, 30, 10))
    ([30000], [0, 10, 20])

    Raises:
        UserError: there is none, or one is no whole number.
    """
    try:
        numbers = [index(step) for step in steps] if isinstance(steps, Iterable) else [index(steps)]
    except TypeError:
        raise UserError(
            f"{steps!r} are no steps: give whole numbers, or text such as '0:30000:1000' or 'last'."
        ) from None
    if not numbers:
        raise UserError("No step was chosen: name one, or leave steps out to take all of them.")
    return numbers
