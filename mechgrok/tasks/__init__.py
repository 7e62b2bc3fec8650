"""The data sets that networks grok, each a small pydantic class registered by name."""

from typing import Any

from pydantic import ValidationError

from mechgrok import own_code
from mechgrok.errors import UserError
from mechgrok.registry import find
from mechgrok.tasks import custom
from mechgrok.tasks.base import Criterion, Examples, Task
from mechgrok.tasks.custom import task
from mechgrok.tasks.losses import Regression

__all__ = ["Criterion", "Examples", "Regression", "Task", "make_task", "saved_task", "task"]


def make_task(name: str, **options: Any) -> Task:
    """The task registered under ``name`` (entry-point group ``mechgrok.tasks``) with its options.

    A name with a colon is a task of a person's own, ``file.py:name`` or ``module:name``, which is
    imported: do not pass on a name that a file holds (`saved_task` is for those).

    Raises:
        UserError: the task, an option or an option's value is unknown.
    """
    own_code.allow(name)
    return saved_task(name, **options)


def saved_task(name: str, **options: Any) -> Task:
    """`make_task` for a name that was read from a file: code that no person has named is refused.

    Raises:
        UserError: as above, or the task is made by code that was never trained with here.
    """
    if not isinstance(name, str):
        raise UserError(f"A task's name is a text such as add, not {name!r}.")
    if own_code.is_own(name):
        name = own_code.absolute(name)
        task_class = custom.load(name)
    else:
        task_class = find("mechgrok.tasks", name).load()
    try:
        return task_class(name=name, **options)
    except ValidationError as error:
        raise UserError(sentence(error, f"task {name}")) from None


def sentence(error: ValidationError, what: str) -> str:
    """The first complaint of a pydantic error as one sentence about ``what``."""
    first = error.errors()[0]
    if isinstance(cause := first.get("ctx", {}).get("error"), UserError):
        return str(cause)
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"The {what} has no option {field!r}."
    message = first["msg"][0].lower() + first["msg"][1:]
    return f"The {what} was given {field} = {first['input']!r}: {message}."
