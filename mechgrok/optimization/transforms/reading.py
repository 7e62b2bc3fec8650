"""Transforms from what a person writes: ``grokfast-ema:lamb=2,clip:max_norm=1``.

Each is a name, with options behind colons. They are done in their order, with commas between them;
in a sweep's axis, where commas part values, with plus signs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from mechgrok import user_code
from mechgrok.errors import UserError, choices, sentence
from mechgrok.grammar import parse_value, show_value
from mechgrok.optimization.transforms import TRANSFORMS
from mechgrok.optimization.transforms.base import Transform

#: Between two transforms; the plus of a number such as 1e+3 is none.
_BETWEEN = re.compile(r",|\+(?=[^0-9])")


def read_transforms(value: Any) -> tuple[Transform, ...]:
    """Transforms from text, from dictionaries of names and options, or as they are.

    >>> [str(each) for each in read_transforms("clip+sam:rho=0.1")]
    ['clip:max_norm=1', 'sam:rho=0.1']

    Raises:
        UserError: a transform or an option of it is unknown.
    """
    return tuple(each if isinstance(each, Transform) else _made(each) for each in _described(value))


def names_in(value: Any) -> list[str]:
    """The names of the transforms that a value describes, made or not."""
    return [str(getattr(each, "name", "") or each["name"]) for each in _described(value)]


def absolute(text: str) -> str:
    """The same transforms, with the files of a person's own named from the root."""
    return "+".join(
        ":".join([user_code.absolute(each["name"]), *_options(each)]) for each in _described(text)
    )


def _options(described: dict[str, Any]) -> list[str]:
    return [f"{key}={show_value(value)}" for key, value in described.items() if key != "name"]


def _described(value: Any) -> Iterator[Any]:
    """Each transform as a dictionary of its name and options, or as it is."""
    if value is None:
        return
    if isinstance(value, str):
        parts = [part.strip() for part in _BETWEEN.split(value)]
        yield from (_from_text(part, value) for part in parts if parts not in ([""], ["none"]))
        return
    for each in value if isinstance(value, list | tuple) else (value,):
        if isinstance(each, str):
            yield from _described(each)
        elif isinstance(each, Transform) or (isinstance(each, dict) and "name" in each):
            yield each
        else:
            raise UserError(f"A transform is named, as clip or sam:rho=0.05 is, not {each!r}.")


def _from_text(text: str, whole: str) -> dict[str, Any]:
    """``grokfast-ema:lamb=2`` in parts; the colon in file.py:Name belongs to the name."""
    name: list[str] = []
    options: dict[str, Any] = {}
    for part in text.split(":"):
        key, equals, value = part.partition("=")
        if not equals and not options:
            name.append(part)
        elif equals and key and value:
            options[key] = parse_value(value)
        else:
            raise UserError(
                f"{whole!r} is not of the form grokfast-ema:alpha=0.98:lamb=2, where every option "
                "has a value."
            )
    if len(name) > 1 and name[0] in TRANSFORMS:
        raise UserError(f"{whole!r} gives {name[1]} no value: write {name[0]}:{name[1]}=VALUE.")
    if not all(name):
        raise UserError(f"{whole!r} names no transform in one place: write clip,sam:rho=0.05.")
    return {"name": ":".join(name)} | options


def _made(described: dict[str, Any]) -> Transform:
    name = described["name"]
    if not isinstance(name, str):
        raise UserError(f"A transform is named, as clip is, not {name!r}.")
    chosen = TRANSFORMS.load(name)
    if not (isinstance(chosen, type) and issubclass(chosen, Transform)):
        raise UserError(f"{name} is no transform: make it a subclass of mechgrok.Transform.")
    try:
        return chosen(**described | {"name": user_code.absolute(name)})
    except ValidationError as error:
        raise UserError(sentence(error, f"transform {name}", chosen.model_fields)) from None


def transform_options() -> dict[str, list[str]]:
    """The options of the project's transforms, and which of these have each."""
    found: dict[str, list[str]] = {}
    for name in TRANSFORMS.own:
        for option in TRANSFORMS.load(name).model_fields:
            found.setdefault(option, []).append(name)
    del found["name"]
    return found


def with_options(transforms: tuple[Transform, ...], given: dict[str, Any]) -> tuple[Transform, ...]:
    """Transforms with options that were given without saying whose they are.

    Raises:
        UserError: none of them has such an option, or several have.
    """
    changed = [each.model_dump() for each in transforms]
    for option, value in given.items():
        holders = [at for at, each in enumerate(transforms) if option in type(each).model_fields]
        if not holders:
            having = transform_options()[option]
            raise UserError(
                f"{option} is an option of the transform {choices(having)}, which is not on: add "
                f"--transform {having[0]}."
            )
        if len(holders) > 1:
            name = transforms[holders[0]].name
            raise UserError(
                f"{option} is an option of several of the transforms: write it as "
                f"{name}:{option}={value}."
            )
        changed[holders[0]][option] = value
    return read_transforms(changed) if given else transforms
