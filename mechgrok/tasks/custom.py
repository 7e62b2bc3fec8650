"""Tasks of a person's own: a decorated function or a subclass of Task, named by where it lives.

``path/to/file.py:name`` and ``package.module:name`` both name a task. Opening a run imports the
file its task comes from, so a run folder that somebody sent could run code that came with it. That
is why only tasks that a person has trained with on this machine, which are listed in `trust_list`,
are imported when a run is opened.
"""

import importlib
import importlib.util
import inspect
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Shaped
from pydantic import create_model
from torch import Tensor

from mechgrok.errors import UserError
from mechgrok.files import write_text
from mechgrok.tasks.base import Criterion, Examples, Task
from mechgrok.tasks.losses import Regression


class FunctionTask(Regression):
    """A task whose examples a function makes; the function's arguments are the task's fields.

    Integer labels make it a classification (cross-entropy, accuracy), real ones a regression (see
    `Regression`). Integer inputs ``[n, pos]`` are tokens, real ones ``[n, d_input]`` vectors.
    """

    #: The function as it was before `task` decorated it.
    function: ClassVar[Callable[..., Any]]

    @cached_property
    def examples(self) -> Examples:
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
        for what, side in (("tokens", inputs), ("labels", labels)):
            if not side.is_floating_point() and side.min() < 0:
                raise UserError(f"{self.name} returned {what} below 0: count them from 0.")
        return Examples(inputs, labels)

    @property
    def _base(self) -> type[Task]:
        return Regression if self.examples.labels.is_floating_point() else Task

    @property
    def input_kind(self) -> str:  # type: ignore[override]
        """ "vectors" for real inputs, "tokens" for integers."""
        return "vectors" if self.examples.inputs.is_floating_point() else "tokens"

    @property
    def criterion(self) -> Criterion:  # type: ignore[override]
        """On accuracy for a classification, on the loss for a regression."""
        return self._base.criterion

    @property
    def train_criterion(self) -> Criterion:  # type: ignore[override]
        """On accuracy for a classification, on the loss for a regression."""
        return self._base.train_criterion

    @property
    def d_vocab(self) -> int:
        inputs = self.examples.inputs
        return inputs.shape[1] if inputs.is_floating_point() else int(inputs.max()) + 1

    @property
    def n_ctx(self) -> int:
        return 1 if self.input_kind == "vectors" else self.examples.inputs.shape[1]

    @property
    def d_output(self) -> int:
        labels = self.examples.labels
        return super().d_output if labels.is_floating_point() else int(labels.max()) + 1

    def loss(
        self, outputs: Float[Tensor, "n d_output"], labels: Shaped[Tensor, "n ..."]
    ) -> Float[Tensor, ""]:
        return self._base.loss(self, outputs, labels)

    def accuracy(
        self, outputs: Float[Tensor, "n d_output"], labels: Shaped[Tensor, "n ..."]
    ) -> Float[Tensor, ""]:
        return self._base.accuracy(self, outputs, labels)

    def __str__(self) -> str:
        return self.name.rpartition(":")[2]


def _usual_dtype(side: Tensor) -> Tensor:
    return side.float() if side.is_floating_point() else side.long()


def task(function: Callable[..., Any]) -> type[FunctionTask]:
    """Decorator that makes a task of a function that returns (inputs, labels).

    The function's parameters become the task's fields, with their types and defaults, so that they
    can be set from the command line (``--set task.n=5``) and are stored in a run's config. The
    function must be pure: the same arguments, the same examples, in the same order.

    Raises:
        UserError: a parameter has the name of a field that every task has.
    """
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
    return made


def absolute(name: str) -> str:
    """``name`` with the path of its file, if it has one, made absolute."""
    where, _, attribute = name.rpartition(":")
    return f"{Path(where).expanduser().resolve()}:{attribute}" if where.endswith(".py") else name


def load(name: str) -> type[Task]:
    """The task class that ``file.py:name`` or ``module:name`` stands for.

    Raises:
        UserError: the file or module is not there, or what it holds under the name is no task.
    """
    where, _, attribute = name.rpartition(":")
    module = _from_file(Path(where)) if where.endswith(".py") else _from_module(where)
    found = getattr(module, attribute, None)
    if isinstance(found, type) and issubclass(found, Task):
        return found
    if found is None:
        raise UserError(f"{where} holds nothing called {attribute!r}: choose a task that it does.")
    raise UserError(
        f"{attribute} in {where} is no task: decorate the function with @mechgrok.task, or make "
        "the class a subclass of mechgrok.Task."
    )


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UserError(
            f"The task's file {path} is not there: put it back, or change the task's name in the "
            "run's config.json to where it is now."
        )
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _from_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise UserError(
            f"The task's module {name} is not installed: install the package that holds it, or "
            "name a file, path/to/file.py:name."
        ) from None


def trust_list() -> Path:
    """The file that lists the tasks of their own that a person has trained with, one a line."""
    import pooch

    return Path(pooch.os_cache("mechgrok")) / "trusted_tasks.txt"


def _trusted() -> list[str]:
    return trust_list().read_text(encoding="utf-8").splitlines() if trust_list().is_file() else []


def trust(name: str) -> None:
    """Remember that a person has trained with the task ``name`` on this machine."""
    if ":" in name and name not in _trusted():
        trust_list().parent.mkdir(parents=True, exist_ok=True)
        write_text(trust_list(), "".join(f"{line}\n" for line in [*_trusted(), name]))


def check_trusted(name: str) -> None:
    """Refuse to import the task of a run that was not trained on this machine.

    Raises:
        UserError: ``name`` is a file or module that is not on the list.
    """
    if ":" in name and absolute(name) not in _trusted():
        raise UserError(
            f"The run's task is made by code in {name}, which was never trained with here: read "
            f"that code, and if you trust it add the line {absolute(name)} to {trust_list()}."
        )
