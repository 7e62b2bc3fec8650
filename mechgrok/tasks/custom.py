"""User tasks: decorated functions or subclasses of Task, named by their location.

A name is ``path/to/file.py:name`` or ``package.module:name``; `mechgrok.user_code` loads code that
the user names and refuses code that only a file names.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, overload

from pydantic import create_model

from mechgrok import user_code
from mechgrok.errors import UserError
from mechgrok.tasks.base import Examples, Task
from mechgrok.tasks.objectives import OBJECTIVES, Objective
from mechgrok.tasks.operations import Operation
from mechgrok.tasks.regression import Regression

if TYPE_CHECKING:
    from torch import Tensor


class FunctionTask(Regression):
    """A task from a function that makes its examples; its parameters are the task's fields.

    Integer labels make it a classification (cross-entropy, accuracy), real ones a regression (see
    `Regression`). Integer inputs ``[n, pos]`` are tokens, real ones ``[n, d_input]`` vectors.
    """

    #: The undecorated function.
    function: ClassVar[Callable[..., Any]]

    @cached_property
    def examples(self) -> Examples:
        import torch

        names = inspect.signature(self.function).parameters
        result = self.function(**{name: getattr(self, name) for name in names})
        if not isinstance(result, (tuple, list)) or len(result) != 2:
            raise UserError(
                f"{self.name} must return a pair (inputs, labels), not a {type(result).__name__}."
            )
        inputs, labels = (_usual_dtype(torch.as_tensor(side)) for side in result)
        dimensions = (1, 2) if labels.is_floating_point() else (1,)
        if inputs.ndim != 2 or labels.ndim not in dimensions or len(inputs) != len(labels):
            raise UserError(
                f"{self.name} returned inputs of shape {tuple(inputs.shape)} and labels of shape "
                f"{tuple(labels.shape)}: it must return inputs [n, …] with a label for each."
            )
        if not len(labels):
            raise UserError(f"{self.name} returned no examples: return at least two.")
        for name, side in (("inputs", inputs), ("labels", labels)):
            if side.is_floating_point() and not side.isfinite().all():
                raise UserError(f"{self.name} returned {name} that are not finite numbers.")
            if not side.is_floating_point() and side.min() < 0:
                name = {"inputs": "tokens"}.get(name, name)
                raise UserError(f"{self.name} returned {name} below 0: count them from 0.")
        return Examples(inputs, labels)

    @cached_property
    def training_objective(self) -> Objective:
        """Cross-entropy for a classification, the share of variance for a regression."""
        if self.examples.labels.is_floating_point():
            return super().training_objective
        return OBJECTIVES.load(self.objective or "cross-entropy")

    @property
    def input_kind(self) -> str:  # type: ignore[override]
        """ "vectors" for real inputs, "tokens" for integers."""
        return "vectors" if self.examples.inputs.is_floating_point() else "tokens"

    @property
    def d_vocab(self) -> int:
        inputs = self.examples.inputs
        return inputs.shape[1] if inputs.is_floating_point() else int(inputs.max()) + 1

    @property
    def d_output(self) -> int:
        labels = self.examples.labels
        if labels.is_floating_point():
            return super().d_output
        return self.training_objective.d_output(int(labels.max()) + 1)

    def __str__(self) -> str:
        return self.name.rpartition(":")[2]


def _usual_dtype(side: Tensor) -> Tensor:
    return side.float() if side.is_floating_point() else side.long()


@overload
def task(function: Callable[..., Any], *, modular: bool = False) -> type[FunctionTask]: ...


@overload
def task(*, modular: bool = False) -> Callable[[Callable[..., Any]], type[FunctionTask]]: ...


def task(
    function: Callable[..., Any] | None = None, *, modular: bool = False
) -> type[FunctionTask] | Callable[[Callable[..., Any]], type[FunctionTask]]:
    """Decorator that turns a function returning (inputs, labels) into a task.

    The function's parameters become the task's fields, with their types and defaults; they can be
    set from the command line (``--set task.n=5``) and are stored in a run's config. The function
    must be pure: the same arguments give the same examples in the same order.

    Args:
        function: makes the examples; omitted in ``@task(modular=True)``.
        modular: whether labels and the first tokens are residues, counted from 0, so that analyses
            of frequencies apply.

    Raises:
        UserError: a parameter has the name of a field of every task.
    """
    if function is None:
        return partial(task, modular=modular)
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(function, eval_str=True).parameters.items():
        if hasattr(FunctionTask, name) or name in FunctionTask.model_fields:
            raise UserError(
                f"The task {function.__name__} has a parameter {name!r}, which is a field of every "
                "task: give it another name."
            )
        annotation, default = parameter.annotation, parameter.default
        fields[name] = (
            Any if annotation is parameter.empty else annotation,
            ... if default is parameter.empty else default,
        )
    location = f"{Path(function.__code__.co_filename).resolve()}:{function.__name__}"
    task_class = create_model(
        function.__name__,
        __base__=FunctionTask,
        __module__=function.__module__,
        __doc__=function.__doc__,
        name=(str, location),
        **fields,
    )
    task_class.function = staticmethod(function)
    task_class.modular = modular
    user_code.allow(location)  # The code is already running.
    return task_class


def load(name: str) -> type[Task]:
    """Load the task class ``file.py:name`` or ``module:name``.

    Raises:
        UserError: the code is not trusted, the file or module is missing, or the name is not a
            task.
    """
    loaded = user_code.load(name, "task")
    if isinstance(loaded, Operation):
        from mechgrok.tasks.modular import ModularArithmetic

        return ModularArithmetic
    if isinstance(loaded, type) and issubclass(loaded, Task):
        return loaded
    location, _, attribute = name.rpartition(":")
    raise UserError(
        f"{attribute} in {location} is not a task: decorate the function with @mechgrok.task, or "
        "make the class a subclass of mechgrok.Task."
    )
