"""Tasks by name: registered ones, and a person's own."""

from typing import Any

from pydantic import ValidationError

from mechgrok import user_code
from mechgrok.errors import UserError, sentence
from mechgrok.global_state import in_neutral_state
from mechgrok.registry import Registry
from mechgrok.tasks import custom
from mechgrok.tasks.base import Task
from mechgrok.tasks.operations import OPERATIONS

#: Every task by its name; each modular operation is one.
TASKS: Registry[type[Task]] = Registry(
    "task",
    "mechgrok.tasks",
    {
        "group": "mechgrok.tasks.groups.composition:GroupComposition",
        "expression": "mechgrok.tasks.expressions:ModularExpression",
        "sum": "mechgrok.tasks.sums:ModularSum",
        "multitask": "mechgrok.tasks.multitask:MultitaskArithmetic",
        "parity": "mechgrok.tasks.parity:SparseParity",
        "polynomial": "mechgrok.tasks.polynomial:PolynomialRegression",
        "mnist": "mechgrok.tasks.images:MNIST",
        "digits": "mechgrok.tasks.images:Digits",
    },
    more=lambda: dict.fromkeys(OPERATIONS, "mechgrok.tasks.modular:ModularArithmetic"),
)


@in_neutral_state
def make_task(name: str, **options: Any) -> Task:
    """The task called ``name`` with its options.

    A name with a colon is a task of a person's own, ``file.py:name`` or ``module:name``, which is
    imported: do not pass on a name that a file holds (`saved_task` is for those).

    Raises:
        UserError: the task, an option or an option's value is unknown.
    """
    user_code.allow(name)
    return saved_task(name, **options)


def saved_task(name: str, **options: Any) -> Task:
    """`make_task` for a name that was read from a file: code that no person has named is refused.

    Raises:
        UserError: as above, or the task is made by code that was never trained with here.
    """
    if not isinstance(name, str):
        raise UserError(f"A task's name is a text such as add, not {name!r}.")
    if user_code.is_own(name):
        name = user_code.absolute(name)
        task_class = custom.load(name)
    else:
        task_class = TASKS.load(name)
    try:
        return task_class(name=name, **options)
    except ValidationError as error:
        known = task_class.model_fields
        raise UserError(sentence(error, f"task {name}", known, _tasks_with)) from None


def _tasks_with(option: str) -> list[str]:
    """The registered tasks that have an option; of the modular operations, add alone."""
    return [name for name in ("add", *TASKS.own) if option in TASKS.load(name).model_fields]
