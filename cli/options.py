"""Options whose values are small languages: lists of numbers, and assignments."""

import json
from typing import Any

from mechgrok.errors import UserError


def whole_numbers(text: str) -> list[int]:
    """The numbers in ``7,13``."""
    try:
        return [int(number) for number in text.replace(" ", "").split(",")]
    except ValueError:
        raise UserError(f"{text!r} is no list of whole numbers such as 7,13.") from None


def assign(given: dict[str, Any], assignment: str) -> None:
    """Put ``part.key=value`` into the nested options; the value is read as JSON where it is."""
    path, equals, text = assignment.partition("=")
    *parts, key = path.split(".")
    if not equals or not key or len(parts) > 1:
        raise UserError(f"--set {assignment} is not of the form task.KEY=VALUE.")
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    (given.setdefault(parts[0], {}) if parts else given)[key] = value
