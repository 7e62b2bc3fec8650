"""Keyword arguments that are fields of configurations: split, validate and list them."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mechgrok.configuration.training import training_options
from mechgrok.errors import UserError, near, sentence

Choices = TypeVar("Choices", bound=BaseModel)
Function = TypeVar("Function", bound=Callable[..., Any])


def split_options(
    given: Mapping[str, Any], choices: type[BaseModel], what: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split the keywords of a function that derives a run into its own and training settings.

    Args:
        given: the keywords.
        choices: the class whose fields are the function's own keywords.
        what: the function's name in messages.

    Raises:
        UserError: a keyword is neither; the message suggests a similar one.
    """
    own = {name: value for name, value in given.items() if name in choices.model_fields}
    training = {name: value for name, value in given.items() if name not in own}
    known = training_options()
    for name in training:
        if name not in known:
            raise UserError(
                f"{what} has no option {name!r}{near(name, [*choices.model_fields, *known])}."
            )
    return own, training


def checked(choices: type[Choices], given: Mapping[str, Any], what: str) -> Choices:
    """A configuration of the class ``choices``, validated.

    Raises:
        UserError: a value is out of range.
    """
    try:
        return choices(**given)
    except ValidationError as error:
        raise UserError(sentence(error, what, choices.model_fields)) from None


def with_keywords(*choices: type[BaseModel]) -> Callable[[Function], Function]:
    """Decorator: list the fields of these classes in the signature and docstring of a function
    that takes them as ``**options``, for help and completion."""

    def describe(function: Function) -> Function:
        own = [
            parameter
            for parameter in inspect.signature(function).parameters.values()
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        fields = {
            name: field
            for choice in choices
            for name, field in choice.model_fields.items()
            if field.description
        }
        keywords = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=field.annotation,
            )
            for name, field in fields.items()
        ]
        function.__signature__ = inspect.Signature([*own, *keywords])  # type: ignore[attr-defined]
        lines = (f"    {name}: {field.description}" for name, field in fields.items())
        function.__doc__ = "\n".join([inspect.getdoc(function) or "", "", "Options:", *lines])
        return function

    return describe
