"""Parsing transforms: ``grokfast-ema:lamb=2,clip:max_norm=1``.

A transform is a name with options after colons. Commas separate transforms, in order; in a sweep's
axis, where commas separate values, plus signs do.
"""

from __future__ import annotations

from typing import Any

from mechgrok.errors import UserError, choices
from mechgrok.fields import make_named, named_parts
from mechgrok.optimization.transforms import TRANSFORMS
from mechgrok.optimization.transforms.base import Transform


def read_transforms(value: Any) -> tuple[Transform, ...]:
    """Parse transforms from text, or from a list of dictionaries or transforms.

    >>> [str(transform) for transform in read_transforms("clip+sam:rho=0.1")]
    ['clip:max_norm=1', 'sam:rho=0.1']

    Raises:
        UserError: a transform or an option is unknown.
    """
    return tuple(make_named(TRANSFORMS, Transform, part) for part in named_parts(TRANSFORMS, value))


def transform_options() -> dict[str, list[str]]:
    """The options of the built-in transforms, each with the transforms that have it."""
    options: dict[str, list[str]] = {}
    for name in TRANSFORMS.own:
        for option in TRANSFORMS.load(name).model_fields:
            options.setdefault(option, []).append(name)
    del options["name"]
    return options


def with_options(transforms: tuple[Transform, ...], given: dict[str, Any]) -> tuple[Transform, ...]:
    """Transforms with options that were given apart from them.

    Raises:
        UserError: none of them has such an option, or several have.
    """
    changed = [transform.model_dump() for transform in transforms]
    for option, value in given.items():
        owners = [at for at, t in enumerate(transforms) if option in type(t).model_fields]
        if not owners:
            names = transform_options()[option]
            raise UserError(
                f"{option} is an option of the transform {choices(names)}, which is not used: add "
                f"--transform {names[0]}."
            )
        if len(owners) > 1:
            name = transforms[owners[0]].name
            raise UserError(
                f"Several transforms have an option {option}: write {name}:{option}={value}."
            )
        changed[owners[0]][option] = value
    return read_transforms(changed) if given else transforms
