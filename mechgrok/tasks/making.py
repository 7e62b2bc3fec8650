"""Tasks by name: registered ones, and a person's own."""

from typing import Any

from pydantic import ValidationError

from mechgrok import own_code
from mechgrok.errors import UserError, sentence
from mechgrok.registry import find
from mechgrok.tasks import custom
from mechgrok.tasks.base import Task


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
