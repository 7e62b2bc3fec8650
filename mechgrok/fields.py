"""What a field of a configuration takes: numbers, where it takes numbers, and nothing for them."""

import json
import types
from collections.abc import Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, model_validator

from mechgrok.errors import UserError


def types_in(annotation: Any) -> set[Any]:
    """The types that an annotation is made of.

    >>> types_in(tuple[int, float] | None) == {int, float, type(None)}
    True
    """
    origin = get_origin(annotation)
    if origin is Annotated:
        return types_in(get_args(annotation)[0])
    if origin in (Union, types.UnionType, tuple, list):
        return {leaf for each in get_args(annotation) for leaf in types_in(each) if each is not ...}
    return {annotation}


def is_numeric(annotation: Any) -> bool:
    """Whether a field takes numbers alone, one or several, or none."""
    return types_in(annotation) <= {int, float, types.NoneType}


class Settings(BaseModel):
    """A part of a configuration: it does not change, and refuses what it does not know.

    Python takes true for 1, and pydantic "13" for 13: in a number's place both are slips.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _numbers_are_numbers(cls, fields: Any) -> Any:
        for name, value in fields.items() if isinstance(fields, Mapping) else ():
            field = cls.model_fields.get(name)
            for each in value if isinstance(value, list | tuple) else (value,):
                if isinstance(each, bool | str) and field and is_numeric(field.annotation):
                    what = json.dumps(each) if isinstance(each, bool) else f"the text {each!r}"
                    raise UserError(f"{name} takes a number, not {what}.")
        return fields
