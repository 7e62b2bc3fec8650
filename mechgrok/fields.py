"""The base class of configurations, and questions about the types of their fields."""

import json
import re
import types
from collections.abc import Mapping
from inspect import Parameter, Signature, signature
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from mechgrok import user_code
from mechgrok.errors import UserError, choices, sentence
from mechgrok.grammar import parse_list, show_list, show_value
from mechgrok.registry import Registry

Named = TypeVar("Named", bound="Settings")


def types_in(annotation: Any) -> set[Any]:
    """The leaf types of an annotation.

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
    """Whether a field holds only numbers: one, several, or None."""
    return types_in(annotation) <= {int, float, types.NoneType}


def is_plain(annotation: Any) -> bool:
    """Whether a field holds only numbers and text, alone or in tuples.

    >>> is_plain(tuple[int, ...] | Literal["dead"] | None), is_plain(dict[str, int])
    (True, False)
    """
    plain = {int, float, str, bool, types.NoneType}
    return all(leaf in plain or get_origin(leaf) is Literal for leaf in types_in(annotation))


def as_plain(value: Any) -> Any:
    """Arrays, tensors, ranges and sets as lists, and their scalars as Python's; others unchanged.

    >>> import numpy as np
    >>> as_plain(np.arange(3)), as_plain(range(2)), as_plain([np.int64(5), 7])
    ([0, 1, 2], [0, 1], [5, 7])
    """
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, range) or (
        isinstance(value, list | tuple) and any(as_plain(each) is not each for each in value)
    ):
        return [as_plain(each) for each in value]
    return value


def takes_several(annotation: Any) -> bool:
    """Whether a field holds a tuple of plain values, as ``betas`` does.

    >>> takes_several(tuple[float, float]), takes_several(tuple[int, ...]), takes_several(float)
    (True, True, False)
    """
    return get_origin(annotation) is tuple and types_in(annotation) <= {int, float, str}


class Settings(BaseModel):
    """A part of a configuration: immutable, and without unknown fields.

    A field that holds several values accepts a single value, too, a list as sweeps write it
    (`mechgrok.grammar.parse_list`), arrays, tensors and ranges. Booleans and texts are refused
    where numbers are expected: Python takes True for 1 and pydantic "13" for 13, and both are
    usually mistakes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: The methods of which a subclass with a name must override one, because without any it does
    #: nothing.
    effective_methods: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        super().__pydantic_init_subclass__(**options)
        # help() shows names and defaults; pydantic's annotations would fill a screen.
        fields = signature(cls).parameters.values()
        cls.__signature__ = Signature(
            [field.replace(annotation=Parameter.empty) for field in fields]
        )

    @model_validator(mode="before")
    @classmethod
    def _numbers_are_numbers(cls, fields: Any) -> Any:
        if not isinstance(fields, Mapping):
            return fields
        fields = {name: cls._entries(name, value) for name, value in fields.items()}
        for name, value in fields.items():
            field = cls.model_fields.get(name)
            for each in value if isinstance(value, list | tuple) else (value,):
                if isinstance(each, bool | str) and field and is_numeric(field.annotation):
                    what = json.dumps(each) if isinstance(each, bool) else f"the text {each!r}"
                    raise UserError(f"{name} takes a number, not {what}.")
        return fields

    @classmethod
    def _entries(cls, name: str, value: Any) -> Any:
        """The values of a field that holds several, in any of their spellings; others unchanged."""
        field = cls.model_fields.get(name)
        if field is not None and is_plain(field.annotation):
            value = as_plain(value)
        if field is None or isinstance(value, list | tuple) or not takes_several(field.annotation):
            return value
        entries = parse_list(value) if isinstance(value, str) else None
        entries = [value] if entries is None else entries
        wanted = get_args(field.annotation)
        if ... not in wanted and len(entries) != len(wanted):
            usual = show_list(field.default)
            raise UserError(f"{name} takes {len(wanted)} values, as in {usual}, not {value}.")
        return entries


def make_named(registry: Registry[type[Named]], base: type[Named], value: Any) -> Named:
    """One of the settings that a registry has by name, with its options.

    Args:
        registry: of subclasses of ``base``.
        base: a class of settings with a ``name``.
        value: as `Registry.describe` takes it; what is made already is returned as it is.

    Raises:
        UserError: the name or an option is unknown, a value is out of range, or the class overrides
            none of its ``effective_methods``.
    """
    if isinstance(value, base):
        _check_effective(registry.kind, base, type(value))
        return value
    options = registry.describe(value)
    name, chosen = options["name"], registry.load(options["name"])
    if not (isinstance(chosen, type) and issubclass(chosen, base)):
        raise UserError(
            f"{name} is no {registry.kind}: make it a subclass of mechgrok.{base.__name__}."
        )
    _check_effective(registry.kind, base, chosen)
    try:
        return chosen(**options | {"name": user_code.absolute(name)})
    except ValidationError as error:
        raise UserError(sentence(error, f"{registry.kind} {name}", chosen.model_fields)) from None


def show_named(named: Any) -> str:
    """Settings with a name as text, without defaults: ``norm:value=30``."""
    options = named.model_dump(exclude={"name"}, exclude_defaults=True)
    return ":".join([named.name, *(f"{key}={show_value(v)}" for key, v in options.items())])


def _check_effective(what: str, base: type[Settings], chosen: type[Settings]) -> None:
    """Refuse a subclass that would do nothing.

    Raises:
        UserError: it overrides no effective method.
    """
    methods = base.effective_methods
    if methods and all(getattr(chosen, name) is getattr(base, name) for name in methods):
        raise UserError(
            f"The {what} {chosen.__name__} does nothing: override {choices(methods)} in it."
        )


#: Between two names with options: ``clip,sam:rho=0.1``, in a sweep ``clip+sam:rho=0.1``.
_BETWEEN = re.compile(r"([,+])")


def named_parts(registry: Registry[type[Named]], value: Any) -> list[Any]:
    """The parts of a value that `make_named` takes one by one.

    A text is split at commas and plus signs, except within an option's value:
    ``freeze:of=W_E+W_U,norm:value=30`` and ``norm:like=runs/p=7,seed=0,freeze:of=W_E`` have two
    parts.

    Args:
        registry: of the names.
        value: a text, a dictionary, an object, or several of them in a list.
    """
    if value is None:
        return []
    if isinstance(value, list | tuple):
        return [part for each in value for part in named_parts(registry, each)]
    if not isinstance(value, str):
        return [value]
    first, *pieces = _BETWEEN.split(value)
    parts = [first]
    for sign, piece in zip(pieces[::2], pieces[1::2], strict=True):
        name = piece.strip().partition(":")[0]
        is_value = "=" in parts[-1] and (sign == "+" or "=" in name)
        if is_value and name not in registry and not user_code.is_own(piece):
            parts[-1] += sign + piece
        else:
            parts.append(piece)
    parts = [part.strip() for part in parts]
    return [] if parts in ([""], ["none"]) else parts
