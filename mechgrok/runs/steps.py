"""Parsing selections of steps: ``0,2000``, ``0:30000:1000``, ``last``."""

from collections.abc import Iterable, Sequence
from operator import index

from mechgrok.errors import UserError


def parse_steps(text: str, steps: Sequence[int]) -> list[int]:
    """Parse ``0,2000``, ``start:stop:every``, ``last``, or a mix of these.

    A range selects from ``steps``; a single number is not checked against them.

    >>> parse_steps("0:100:50, last", [0, 25, 50, 75, 100, 125])
    [0, 50, 100, 125]

    Raises:
        UserError: the text has another form, or selects nothing.
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
    """Parse a step: ``30000``, ``30_000``, ``3e4``.

    Raises:
        ValueError: the text is not a whole number.
    """
    if "e" not in text.lower():
        return int(text)
    number = float(text)
    if not number.is_integer() or abs(number) > 2**53:
        raise ValueError(text)
    return int(number)


def whole_numbers(steps: int | Iterable[int]) -> list[int]:
    """Convert one step or several to a list of ints.

    >>> whole_numbers(30_000), whole_numbers(range(0, 30, 10))
    ([30000], [0, 10, 20])

    Raises:
        UserError: the list is empty, or an element is not a whole number.
    """
    try:
        numbers = [index(step) for step in steps] if isinstance(steps, Iterable) else [index(steps)]
    except TypeError:
        raise UserError(
            f"{steps!r} does not select steps: give whole numbers, or text such as "
            "'0:30000:1000' or 'last'."
        ) from None
    if not numbers:
        raise UserError("No step is selected: give at least one, or omit steps to select all.")
    return numbers
