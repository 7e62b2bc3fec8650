"""Settings that are known to grok, by name: each is a TOML file in this folder.

A preset is a part of a run's configuration: a ``description``, perhaps a ``seed``, and the tables
``[task]``, ``[model]`` and ``[training]`` with fields of a task, a model's configuration and
`mechgrok.config.TrainingConfig`. What it leaves out keeps its default, and any option given beside
it takes precedence. TOML has no null: the word "none" stands for it (``d_model = "none"``, an MLP
without an embedding).
"""

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from mechgrok.errors import UserError, choices
from mechgrok.registry import entries

#: The preset that is trained when none is named.
DEFAULT = "paper-mlp"


def names() -> dict[str, str]:
    """All presets with their one-line descriptions: the default first, then the alphabet."""
    found = sorted(
        (file.name[:-5] for file in _folder().iterdir() if file.name.endswith(".toml")),
        key=lambda name: (name != DEFAULT, name),
    )
    return {name: _read(name)["description"] for name in found}


def load(name: str) -> dict[str, Any]:
    """The fields of `mechgrok.config.RunConfig` that the preset called ``name`` settles.

    Returns:
        A new nested dictionary with some of the keys task, model, training and seed.

    Raises:
        UserError: there is no such preset; the message lists those that exist.
    """
    if name not in names():
        raise UserError(f"There is no preset {name!r}: choose {choices(names())}.")
    fields = _null(_read(name))
    del fields["description"]
    return fields


def merge(preset: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """``preset`` with every field that ``given`` holds in place of its own.

    A task of another class, or a model of another kind, takes nothing from the preset's: it starts
    from its own defaults.
    """
    merged = dict(preset)
    for key, value in given.items():
        before = merged.get(key)
        alike = isinstance(before, dict) and isinstance(value, dict) and _alike(before, value)
        merged[key] = before | value if alike else value
    return merged


def _alike(before: dict[str, Any], given: dict[str, Any]) -> bool:
    """Whether the fields of ``before`` mean something beside those of ``given``."""
    if given.get("kind", before.get("kind")) != before.get("kind"):
        return False
    known = entries("mechgrok.tasks")
    old, new = (known.get((before | fields).get("name", "")) for fields in ({}, given))
    return (old and (old.module, old.attribute)) == (new and (new.module, new.attribute))


def _folder() -> Any:
    return files("mechgrok") / "presets"


@cache
def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((_folder() / f"{name}.toml").read_text(encoding="utf-8"))


def _null(value: Any) -> Any:
    """A copy of ``value`` with None for every "none"."""
    if isinstance(value, dict):
        return {key: _null(item) for key, item in value.items()}
    return None if value == "none" else value


def merge(preset: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """A preset with options over it.

    Where an option changes *which* task or model it is, the preset's other fields of that part no
    longer mean anything and are dropped.
    """
    merged = dict(preset)
    for part, fields in given.items():
        if not isinstance(fields, dict):
            merged[part] = fields
            continue
        before = preset.get(part, {})
        kind = {"task": "name", "model": "kind"}.get(part)
        if kind and kind in fields and fields[kind] != before.get(kind, fields[kind]):
            before = {}
        merged[part] = before | fields
    usual = {"task": {"name": "add"}, "model": {"kind": "mlp"}, "training": {}}
    return merged | {part: fields | merged.get(part, {}) for part, fields in usual.items()}
