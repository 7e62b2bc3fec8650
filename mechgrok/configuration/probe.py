"""Probes: analyses to measure at regular intervals during training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, ValidationError

from mechgrok import user_code
from mechgrok.errors import UserError, sentence
from mechgrok.fields import Settings
from mechgrok.grammar import Value, parse_value, show_value

_FORM = "write entropy:100 or fourier:50:path=direct, with the interval in steps before the options"


class Probe(Settings):
    """An analysis to measure at regular intervals during training.

    Attributes:
        name: the analysis; ``/home/me/sharpness.py:`` for one in a file.
        every: the interval in steps.
        options: keyword options of its ``measure``.
    """

    name: str
    every: Annotated[int, Field(ge=1)]
    options: dict[str, Value] = Field(default_factory=dict)

    def __str__(self) -> str:
        options = (f"{key}={show_value(value)}" for key, value in self.options.items())
        return ":".join([self.name.rstrip(":"), str(self.every), *options])


def read_probes(value: Any) -> tuple[Probe, ...]:
    """Parse probes from a text, from ``{"entropy": 100}``, or from a list.

    >>> [str(probe) for probe in read_probes("entropy:100,fourier:50:path=direct")]
    ['entropy:100', 'fourier:50:path=direct']

    Raises:
        UserError: a probe has no interval.
    """
    if value is None:
        return ()
    if isinstance(value, str):
        parts = [part.strip() for part in value.replace("+", ",").split(",")]
        return tuple(_from_text(part) for part in parts if parts not in ([""], ["none"]))
    if isinstance(value, Mapping) and "every" not in value:
        return tuple(_make({"name": name, "every": every}) for name, every in value.items())
    probes: list[Probe] = []
    for item in value if isinstance(value, list | tuple) else (value,):
        if isinstance(item, Probe):
            probes.append(item)
        elif isinstance(item, str):
            probes += read_probes(item)
        elif isinstance(item, Mapping):
            probes.append(_make(dict(item)))
        else:
            raise UserError(f"A probe is an analysis and an interval, not {item!r}: {_FORM}.")
    return tuple(probes)


def _from_text(text: str) -> Probe:
    parts = text.split(":")
    at = next((at for at, part in enumerate(parts) if part.isdecimal()), 0)
    options = [part.partition("=") for part in parts[at + 1 :]]
    if not at or not all(key and equals and value for key, equals, value in options):
        raise UserError(f"{text!r} is not a probe: {_FORM}.")
    parsed = {key: parse_value(value) for key, _, value in options}
    return _make({"name": ":".join(parts[:at]), "every": int(parts[at]), "options": parsed})


def _make(fields: dict[str, Any]) -> Probe:
    if isinstance(name := fields.get("name"), str):
        fields = fields | {"name": user_code.absolute(user_code.analysis_name(name))}
    try:
        return Probe(**fields)
    except ValidationError as error:
        raise UserError(
            sentence(error, f"probe {fields.get('name')}", Probe.model_fields)
        ) from None
