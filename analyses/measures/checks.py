"""Checks of the numbers that analyses take as options."""

from mechgrok.errors import UserError


def check_at_least(least: int, **numbers: int | None) -> None:
    """Refuse numbers that are too small; None stands for a default.

    Raises:
        UserError: a number is below ``least``.

    >>> check_at_least(1, checkpoints=12, batch_size=None)
    """
    for name, number in numbers.items():
        if number is not None and number < least:
            raise UserError(f"{name} = {number} is too few: give {least} or more.")


def check_positive(**numbers: float | None) -> None:
    """Refuse numbers that are not positive and finite; None stands for a default.

    Raises:
        UserError: a number is 0, negative, infinite or not a number.

    >>> check_positive(radius=0.05)
    """
    for name, number in numbers.items():
        if number is not None and not 0 < number < float("inf"):
            raise UserError(f"{name} = {number:g} is not positive: give a number above 0.")
