"""Pruning methods by name: which weights each of them scores, and its options."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any, Literal

from mechgrok.errors import UserError, choices
from mechgrok.registry import Registry

#: Whether a method scores weights at initialization or at the end of a training.
Scored = Literal["initial", "trained"]

SCORES: Registry[Callable[..., Any]] = Registry(
    "pruning method",
    "mechgrok.scores",
    {
        name: f"mechgrok.masks.scores:{name}"
        for name in ("magnitude", "random", "snip", "grasp", "synflow")
    },
)

#: What every method may take; its other parameters are its own options.
_COMMON = ("model", "task", "rate", "scope")


def score(function: Any = None, *, scores: Scored = "initial") -> Any:
    """Decorator: a pruning method under the function's name.

    Args:
        function: gives a score for every entry, by weight; the highest are kept.
        scores: which weights a ticket is scored by, unless its step is given: those at
            initialization, or the trained ones.
    """

    def register(function: Any) -> Any:
        function.scores = scores
        SCORES.own[function.__name__] = function
        return function

    return register if function is None else register(function)


def scored_weights(method: str) -> Scored:
    """Which weights a method scores unless it is told a step.

    Raises:
        UserError: there is no such method.
    """
    return getattr(SCORES.load(method), "scores", "initial")


def options_of(method: str) -> dict[str, Any]:
    """A method's own options, with their defaults (``inspect.Parameter.empty`` where none is).

    Raises:
        UserError: there is no such method.
    """
    parameters = inspect.signature(SCORES.load(method)).parameters
    return {name: each.default for name, each in parameters.items() if name not in _COMMON}


def check_options(method: str, options: Iterable[str]) -> None:
    """Refuse options that a method does not have.

    Raises:
        UserError: it has no such option.
    """
    known = options_of(method)
    if unknown := [name for name in options if name not in known]:
        has = f"choose {choices(known)}" if known else "it has none"
        raise UserError(f"The pruning method {method} has no option {unknown[0]!r}: {has}.")
