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
    """A preset with options over it, as `mechgrok.config.RunConfig.make` takes them.

    Where an option changes the class of the task or the kind of the model, the preset's other
    fields of that part no longer mean anything and are dropped.
    """
    usual = {"task": {"name": "add"}, "model": {"kind": "mlp"}, "training": {}}
    merged: dict[str, Any] = {part: fields | preset.get(part, {}) for part, fields in usual.items()}
    for part, fields in given.items():
        if part in usual:
            merged[part] = merged[part] | fields if _alike(merged[part], fields) else fields
        else:
            merged[part] = fields
    return {**preset, **merged}


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
