"""Pruning methods by name, with their options."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args

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

#: Parameters available to every method; all others are the method's own options.
_COMMON = ("model", "task", "rate", "scope")


def score(function: Any = None, *, scores: Scored = "initial") -> Any:
    """Decorator that registers a pruning method under the function's name.

    Args:
        function: returns a score for every entry, by weight; the highest are kept.
        scores: whether a ticket scores the weights at initialization or the trained ones, by
            default.
    """

    if scores not in get_args(Scored):
        raise UserError(f"A score has scores={scores!r}: choose {choices(get_args(Scored))}.")

    def register(function: Any) -> Any:
        function.scores = scores
        SCORES.own[function.__name__] = function
        return function

    return register if function is None else register(function)


def scored_weights(method: str) -> Scored:
    """Whether a method scores initial or trained weights by default.

    Raises:
        UserError: the method is unknown.
    """
    return getattr(SCORES.load(method), "scores", "initial")


def options_of(method: str) -> dict[str, Any]:
    """A method's own options with their defaults (``inspect.Parameter.empty`` if required).

    Raises:
        UserError: the method is unknown.
    """
    parameters = inspect.signature(SCORES.load(method)).parameters
    return {name: p.default for name, p in parameters.items() if name not in _COMMON}


def check_options(method: str, options: Iterable[str]) -> None:
    """Raise an error for options that a method does not have.

    Raises:
        UserError: the method has no such option.
    """
    known = options_of(method)
    if unknown := [name for name in options if name not in known]:
        remedy = f"choose {choices(known)}" if known else "it has none"
        raise UserError(f"The pruning method {method} has no option {unknown[0]!r}: {remedy}.")
