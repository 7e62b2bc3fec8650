"""Checks of numerical options of analyses, and of the tasks that they apply to."""

from mechgrok.errors import UserError
from mechgrok.runs import Run


def check_at_least(least: int, **numbers: int | None) -> None:
    """Reject numbers below a minimum; None is valid.

    Raises:
        UserError: a number is below ``least``.

    >>> check_at_least(1, checkpoints=12, batch_size=None)
    """
    for name, number in numbers.items():
        if number is not None and number < least:
            raise UserError(f"{name} = {number} is too few: give {least} or more.")


def check_positive(**numbers: float | None) -> None:
    """Reject numbers that are not positive and finite; None is valid.

    Raises:
        UserError: a number is 0, negative, infinite or not a number.

    >>> check_positive(radius=0.05)
    """
    for name, number in numbers.items():
        if number is not None and not 0 < number < float("inf"):
            raise UserError(f"{name} = {number:g} is not positive: give a number above 0.")


def not_classification(run: Run) -> str | None:
    """The reason why a run's task does not have one class per example; None if it does.

    >>> import mechgrok
    >>> print(not_classification(mechgrok.Run("data/base")))
    None
    """
    labels = run.task.examples.labels
    if labels.is_floating_point() or labels.ndim > 1:
        return f"{run.task.name} does not have one class per example."
    return None
