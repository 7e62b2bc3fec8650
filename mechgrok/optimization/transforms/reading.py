"""Transforms from what a person writes: ``grokfast-ema:lamb=2,clip:max_norm=1``.

Each is a name, with options behind colons. They are done in their order, with commas between them;
in a sweep's axis, where commas part values, with plus signs.
"""

from __future__ import annotations

from typing import Any

from mechgrok import user_code
from mechgrok.errors import UserError, choices
from mechgrok.fields import make_named, named_parts
from mechgrok.optimization.transforms import TRANSFORMS
from mechgrok.optimization.transforms.base import Transform


def read_transforms(value: Any) -> tuple[Transform, ...]:
    """Transforms from text, from dictionaries of names and options, or as they are.

    >>> [str(transform) for transform in read_transforms("clip+sam:rho=0.1")]
    ['clip:max_norm=1', 'sam:rho=0.1']

    Raises:
        UserError: a transform or an option of it is unknown.
    """
    return tuple(make_named(TRANSFORMS, Transform, part) for part in named_parts(TRANSFORMS, value))


def names_in(value: Any) -> list[str]:
    """The names of the transforms that a value describes, made or not."""
    return [
        part.name if isinstance(part, Transform) else TRANSFORMS.describe(part)["name"]
        for part in named_parts(TRANSFORMS, value)
    ]


def absolute(text: str) -> str:
    """The same transforms, with the files of a person's own named from the root."""
    return "+".join(map(user_code.absolute, named_parts(TRANSFORMS, text)))


def transform_options() -> dict[str, list[str]]:
    """The options of the project's transforms, and which of these have each."""
    options: dict[str, list[str]] = {}
    for name in TRANSFORMS.own:
        for option in TRANSFORMS.load(name).model_fields:
            options.setdefault(option, []).append(name)
    del options["name"]
    return options


def with_options(transforms: tuple[Transform, ...], given: dict[str, Any]) -> tuple[Transform, ...]:
    """Transforms with options that were given without saying whose they are.

    Raises:
        UserError: none of them has such an option, or several have.
    """
    changed = [transform.model_dump() for transform in transforms]
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
