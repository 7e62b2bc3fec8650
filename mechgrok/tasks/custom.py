"""Tasks of a person's own: a decorated function or a subclass of Task, named by where it lives.

``path/to/file.py:name`` and ``package.module:name`` both name a task; `mechgrok.user_code` loads
what a person has named and refuses what a file names.
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
    """A task whose examples a function makes; the function's arguments are the task's fields.

    Integer labels make it a classification (cross-entropy, accuracy), real ones a regression (see
    `Regression`). Integer inputs ``[n, pos]`` are tokens, real ones ``[n, d_input]`` vectors.
    """

    #: The function as it was before `task` decorated it.
    function: ClassVar[Callable[..., Any]]

    @cached_property
    def examples(self) -> Examples:
        import torch

        names = inspect.signature(self.function).parameters
        made = self.function(**{name: getattr(self, name) for name in names})
        if not isinstance(made, (tuple, list)) or len(made) != 2:
            raise UserError(
                f"{self.name} must return a pair (inputs, labels), not a {type(made).__name__}."
            )
        inputs, labels = (_usual_dtype(torch.as_tensor(side)) for side in made)
        dimensions = (1, 2) if labels.is_floating_point() else (1,)
        if inputs.ndim != 2 or labels.ndim not in dimensions or len(inputs) != len(labels):
            raise UserError(
                f"{self.name} returned inputs of shape {tuple(inputs.shape)} and labels of shape "
                f"{tuple(labels.shape)}: it must return inputs [n, …] and a label for each of them."
            )
        if not len(labels):
            raise UserError(f"{self.name} returned no example: return at least two.")
        for what, side in (("inputs", inputs), ("labels", labels)):
            if side.is_floating_point() and not side.isfinite().all():
                raise UserError(f"{self.name} returned {what} that are not finite numbers.")
            if not side.is_floating_point() and side.min() < 0:
                what = {"inputs": "tokens"}.get(what, what)
                raise UserError(f"{self.name} returned {what} below 0: count them from 0.")
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
    """Decorator that makes a task of a function that returns (inputs, labels).

    The function's parameters become the task's fields, with their types and defaults, so that they
    can be set from the command line (``--set task.n=5``) and are stored in a run's config. The
    function must be pure: the same arguments, the same examples, in the same order.

    Args:
        function: makes the examples; without it a decorator is returned, as in
            ``@task(modular=True)``.
        modular: labels are residues, counted from 0, and the first tokens are the same residues,
            so that analyses may ask for frequencies.

    Raises:
        UserError: a parameter has the name of a field that every task has.
    """
    if function is None:
        return partial(task, modular=modular)
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(function, eval_str=True).parameters.items():
        if hasattr(FunctionTask, name) or name in FunctionTask.model_fields:
            raise UserError(
                f"The task {function.__name__} has a parameter {name!r}, which every task has "
                "already: give it another name."
            )
        given, default = parameter.annotation, parameter.default
        fields[name] = (
            Any if given is parameter.empty else given,
            ... if default is parameter.empty else default,
        )
    location = f"{Path(function.__code__.co_filename).resolve()}:{function.__name__}"
    made = create_model(
        function.__name__,
        __base__=FunctionTask,
        __module__=function.__module__,
        __doc__=function.__doc__,
        name=(str, location),
        **fields,
    )
    made.function = staticmethod(function)
    made.modular = modular
    user_code.allow(location)  # It runs already.
    return made


def load(name: str) -> type[Task]:
    """The task class that ``file.py:name`` or ``module:name`` stands for.

    Raises:
        UserError: no person has named it here, the file or module is not there, or what it holds
            under the name is no task.
    """
    found = user_code.load(name, "task")
    if isinstance(found, Operation):
        from mechgrok.tasks.modular import ModularArithmetic

        return ModularArithmetic
    if isinstance(found, type) and issubclass(found, Task):
        return found
    where, _, attribute = name.rpartition(":")
    raise UserError(
        f"{attribute} in {where} is no task: decorate the function with @mechgrok.task, or make "
        "the class a subclass of mechgrok.Task."
    )
