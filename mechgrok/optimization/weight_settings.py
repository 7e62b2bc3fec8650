"""Settings of single weights: their learning rate and weight decay."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from mechgrok.errors import UserError
from mechgrok.fields import Settings
from mechgrok.grammar import split_options
from mechgrok.optimization.selection import KINDS, SIDES, select

if TYPE_CHECKING:
    from mechgrok.models.wiring import Wiring


class WeightSettings(Settings):
    """Settings of some weights that override those of the training."""

    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        default=None, exclude_if=lambda rate: rate is None, description="Learning rate."
    )
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        default=None, exclude_if=lambda decay: decay is None, description="Weight decay."
    )


def read_weight_settings(value: Any) -> Any:
    """Settings by selection of weights, from a text or nested dictionaries.

    >>> read_weight_settings("W_E:learning_rate=1e-4,biases:weight_decay=0")
    {'W_E': {'learning_rate': 0.0001}, 'biases': {'weight_decay': 0}}
    >>> read_weight_settings({"blocks": {"0": {"mlp": {"W_in": {"weight_decay": 0}}}}})
    {'blocks.0.mlp.W_in': {'weight_decay': 0}}

    Raises:
        UserError: a weight in a text has no settings.
    """
    if isinstance(value, Mapping):
        return {
            of: settings for name, inner in value.items() for of, settings in _flat(name, inner)
        }
    if not isinstance(value, str):
        return value or {}
    parts = [] if value in ("", "none") else value.replace("+", ",").split(",")
    chosen = dict(split_options(part.strip()) for part in parts)
    if without := [of for of, settings in chosen.items() if not settings]:
        raise UserError(
            f"{without[0]} has no settings: write {without[0]}:learning_rate=1e-4:weight_decay=0."
        )
    return chosen


def _flat(name: str, settings: Any) -> Iterator[tuple[str, Any]]:
    """Settings by selection, where dots in names of weights may be written as nested levels."""
    nested = isinstance(settings, Mapping) and settings
    if nested and all(isinstance(inner, Mapping) for inner in settings.values()):
        for key, inner in settings.items():
            yield from _flat(f"{name}.{key}", inner)
    else:
        yield name, settings


def by_weight(
    settings: Mapping[str, WeightSettings], wiring: Wiring
) -> dict[str, dict[str, float]]:
    """The settings of each weight that has its own.

    A weight's name overrides its kind, which overrides its side.

    Raises:
        UserError: the network has no such weight.
    """
    chosen: dict[str, dict[str, float]] = defaultdict(dict)
    for of in sorted(settings, key=_precedence):
        for name in select(of, wiring):
            chosen[name] |= settings[of].model_dump(exclude_none=True)
    return dict(chosen)


def _precedence(of: str) -> int:
    """The place of a selection among those that override one another; later ones override."""
    return next((place for place, names in enumerate((SIDES, KINDS), 1) if of in names), 3)
