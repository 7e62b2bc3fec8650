"""A small language for lists of values: ``0.3,1,3``, ``0:8``, ``0.1:0.9:0.1``.

It is used for seeds, swept settings and options of tickets, on the command line, in Python and in
``sweep.toml``.

- ``a,b,c`` lists values; each part may be a range.
- ``a:b`` is the range of integers from a to b, excluding b, as in Python: ``0:8`` is eight seeds.
- ``a:b:step`` is a, a + step, … up to and including b: ``0.1:0.9:0.1`` is nine rates, computed in
  decimal arithmetic (0.3 rather than 0.30000000000000004).
- ``[a,b]`` is a single value of a setting that holds several: ``[0.9,0.98],[0.9,0.999]`` is two
  values of ``betas``.
- ``true``, ``false`` and ``none`` have their usual meaning; any other word is a text.
"""

import math
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from mechgrok.errors import UserError

#: A value of a setting; lists are texts as `show_list` writes them.
Value = int | float | bool | str | None

#: The name of a setting: its path or the last part of it.
_NAME = re.compile(r"[\w.-]+")
#: Commas outside brackets.
_BETWEEN = re.compile(r",(?![^\[\]]*\])")
_WORDS: dict[str, Value] = {"true": True, "false": False, "none": None, "null": None}
#: Options behind a name: ``:alpha=0.98:lamb=2``.
_OPTIONS = re.compile(r"(?::[^\W\d]\w*=[^:]*)+$")
#: Upper bound on the number of values in a range.
_MOST = 100_000


def parse_values(text: str) -> list[Value]:
    """Parse ``text`` into values, without duplicates, in the order given.

    Raises:
        UserError: a part is empty, or a range is empty, endless or has a step of 0.

    >>> parse_values("0.3,1,3")
    [0.3, 1, 3]
    >>> parse_values("0:3,7")
    [0, 1, 2, 7]
    >>> parse_values("0.1:0.5:0.1")
    [0.1, 0.2, 0.3, 0.4, 0.5]
    >>> parse_values("[0.9, 0.98],[0.9,0.999]")
    ['[0.9,0.98]', '[0.9,0.999]']
    """
    values: list[Value] = []
    for part in _BETWEEN.split(text):
        part = part.strip()
        if not part:
            raise UserError(f"{text!r} has an empty part: write values as in 0.3,1,3 or 0:8.")
        values += _range(part) if _is_range(part) else [parse_value(part)]
    # True == 1 in Python, but they are two values.
    return list({(type(value), value): value for value in values}.values())


def parse_value(text: str) -> Value:
    """Parse one value: a number, true, false, none, or a text.

    >>> parse_value("1e-3"), parse_value("12"), parse_value("none"), parse_value("adamw")
    (0.001, 12, None, 'adamw')
    """
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if (entries := parse_list(text)) is not None:
        return show_list(entries)
    number = _decimal(text)
    return text if number is None else _plain(number, text)


def parse_list(text: str) -> list[Value] | None:
    """The entries of a list in brackets; None if ``text`` is not a list.

    >>> parse_list("[0.9,0.98]"), parse_list("[]"), parse_list("adamw")
    ([0.9, 0.98], [], None)
    """
    if not (text.startswith("[") and text.endswith("]")):
        return None
    return [parse_value(entry.strip()) for entry in text[1:-1].split(",") if entry.strip()]


def show_list(entries: Iterable[Value]) -> str:
    """Format a list so that `parse_list` can read it.

    >>> show_list([0.9, 0.98])
    '[0.9,0.98]'
    """
    return f"[{','.join(map(show_value, entries))}]"


def split_options(text: str) -> tuple[str, dict[str, Value]]:
    """A name and the options behind it; the colon in ``file.py:Name`` belongs to the name.

    >>> split_options("sam:rho=0.1"), split_options("my.py:Signs")
    (('sam', {'rho': 0.1}), ('my.py:Signs', {}))
    """
    match = _OPTIONS.search(text)
    if match is None:
        return text, {}
    options = (part.split("=", 1) for part in match[0].split(":")[1:])
    return text[: match.start()], {key: parse_value(value) for key, value in options}


def parse_assignments(text: str, flag: str, example: str) -> dict[str, str]:
    """Parse names and their values: ``rate=0.4,0.6,scope=layer`` has two names.

    Args:
        text: the assignments.
        flag: the option they were given to, for messages.
        example: a valid text, for messages.

    Raises:
        UserError: a name or a value is missing.

    >>> parse_assignments("rate=0.4,0.6,scope=layer", "--ticket", "rate=0.4")
    {'rate': '0.4,0.6', 'scope': 'layer'}

    Text before an equals sign starts a new assignment only if it could be a setting's name:
    ``transform=clip,clip+sam:rho=0.1`` is one assignment.

    >>> parse_assignments("transform=clip,clip+sam:rho=0.1", "--over", "p=5")
    {'transform': 'clip,clip+sam:rho=0.1'}
    """
    found: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        named = _NAME.fullmatch(name.strip())
        if equals and named and value.strip():
            found[name.strip()] = value.strip()
        elif found and not (equals and named):
            last = next(reversed(found))
            found[last] = f"{found[last]},{part.strip()}"
        else:
            raise UserError(f"{flag} {text} is not of the form {example}.")
    return found


def as_values(given: object) -> list[Value]:
    """The values that were given in Python or TOML: as a text, one value, or several.

    Raises:
        UserError: there is no value, or one has another type.

    A nested list is one value.

    >>> as_values(range(3)), as_values("0:2"), as_values(0.5), as_values(["add", "mul"])
    ([0, 1, 2], [0, 1], [0.5], ['add', 'mul'])
    >>> as_values([(0.9, 0.98), (0.9, 0.999)])
    ['[0.9,0.98]', '[0.9,0.999]']
    """
    if isinstance(given, str):
        return parse_values(given)
    several: list[Any] = list(given) if isinstance(given, Iterable) else [given]
    if not several:
        raise UserError("An empty list of values sweeps nothing: give at least one.")
    several = [show_list(as_values(one)) if _is_list(one) else one for one in several]
    values = [one.item() if hasattr(one, "item") else one for one in several]  # NumPy's and torch's
    for value in values:
        endless = isinstance(value, float) and not math.isfinite(value)
        if isinstance(given, Mapping) or not isinstance(value, Value) or endless:
            raise UserError(f"{given!r} holds no values of a setting: give numbers and words.")
    return values


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple) and bool(value)


def show_value(value: Value) -> str:
    """Format a value so that `parse_value` can read it.

    >>> show_value(0.3), show_value(None), show_value(True), show_value("adamw")
    ('0.3', 'none', 'true', 'adamw')
    """
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, float):
        return str(value)
    short = f"{value:.12g}"
    return short if float(short) == value else repr(value)


def _is_range(part: str) -> bool:
    """Whether ``part`` is numbers separated by colons, unlike the text file.py:name."""
    numbers = part.split(":")
    return len(numbers) in (2, 3) and all(_decimal(number) is not None for number in numbers)


def _range(part: str) -> list[Value]:
    texts = part.split(":")
    start, stop, *rest = (Decimal(text) for text in texts)
    step = rest[0] if rest else Decimal(1)
    if not rest and any(number != number.to_integral_value() for number in (start, stop)):
        raise UserError(f"The range {part} has no step: write start:stop:step, as in 0.1:0.9:0.1.")
    if not step:
        raise UserError(f"The range {part} has a step of 0 and would never end.")
    count = (stop - start) / step
    n = int(count) + 1 if rest else int(count)  # with a step the stop belongs to it
    if count < 0 or n < 1:
        raise UserError(f"The range {part} holds no value: its stop must lie beyond its start.")
    if n > _MOST:
        raise UserError(f"The range {part} holds {n:,} values: choose a larger step.")
    return [_plain(start + index * step, "".join(texts)) for index in range(n)]


def _decimal(text: str) -> Decimal | None:
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() and text.isascii() and "_" not in text else None


def _plain(number: Decimal, written: str) -> int | float:
    """An integer if it was written as one (12, but not 12.0 or 1e3)."""
    whole = number == number.to_integral_value() and not any(c in written for c in ".eE")
    return int(number) if whole else float(number)
