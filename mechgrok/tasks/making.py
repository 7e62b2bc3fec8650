"""Making tasks by name: built-in and user tasks."""

from typing import Any

from pydantic import ValidationError

from mechgrok import user_code
from mechgrok.errors import UserError, sentence
from mechgrok.global_state import in_neutral_state
from mechgrok.registry import Registry
from mechgrok.tasks import custom
from mechgrok.tasks.base import Task
from mechgrok.tasks.operations import OPERATIONS

#: All tasks by name, including the modular operations.
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
    """Make the task ``name`` with options.

    A name with a colon is a user task, ``file.py:name`` or ``module:name``, whose code is trusted
    and imported; for names from a file use `saved_task`.

    Raises:
        UserError: the task or an option is unknown, or a value is invalid.
    """
    user_code.allow(name)
    return saved_task(name, **options)


def saved_task(name: str, **options: Any) -> Task:
    """`make_task` for a name from a file, which refuses untrusted user code.

    Raises:
        UserError: as for `make_task`, or the task is untrusted user code.
    """
    if not isinstance(name, str):
        raise UserError(f"A task's name must be text such as add, not {name!r}.")
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
    """The built-in tasks with an option; add represents the modular operations."""
    return [name for name in ("add", *TASKS.own) if option in TASKS.load(name).model_fields]
