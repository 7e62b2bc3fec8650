"""Presets: settings known to grok, by name. Each is a TOML file, in this folder or a user's own.

A preset is a partial run configuration: a ``description``, optionally a ``seed``, and the tables
``[task]``, ``[model]`` and ``[training]`` with fields of a task, a model configuration and
`mechgrok.configuration.training.TrainingConfig`, as in ``config.json``; or ``[set]`` with settings
by name, as in ``sweep.toml``. Other fields keep their defaults, and options override the preset. As
TOML has no null, "none" stands for it (``d_model = "none"`` is an MLP without an embedding).
"""

import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from mechgrok.errors import UserError, choices, near
from mechgrok.files import read_text
from mechgrok.user_code import absolute

#: The preset that is used if none is named.
DEFAULT = "paper-mlp"
#: The keys of a preset's file.
KEYS = ("description", "seed", "task", "model", "training", "set")


def names() -> dict[str, str]:
    """All presets with their one-line descriptions: the default, then the others alphabetically."""
    presets = sorted(
        (file.name[:-5] for file in _folder().iterdir() if file.name.endswith(".toml")),
        key=lambda name: (name != DEFAULT, name),
    )
    return {name: _read(name)["description"] for name in presets}


def load(name: str) -> dict[str, Any]:
    """The fields of `mechgrok.configuration.RunConfig` that a preset sets.

    Args:
        name: the preset, or a TOML file of one.

    Returns:
        A new nested dictionary with keys among task, model, training and seed.

    Raises:
        UserError: there is no such preset, and the message lists the presets; or the file cannot be
            read, or is no preset.
    """
    if is_file(name):
        return nested(read_file(name))
    if name not in names():
        raise UserError(
            f"There is no preset {name!r}{near(name, names())}: choose {choices(names())}, or a "
            "TOML file of settings."
        )
    return nested(_read(name))


def is_file(name: str) -> bool:
    """Whether a preset's name is a path."""
    return name.endswith(".toml")


def read_file(path: str) -> dict[str, Any]:
    """The content of a user's file, with absolute paths of user code.

    Raises:
        UserError: the file cannot be read, or is no preset.
    """
    fields = read_toml(path)
    if unknown := [key for key in fields if key not in KEYS]:
        raise UserError(
            f"{path} is not a preset, because it has {unknown[0]!r}: a preset has {choices(KEYS)}."
        )
    tables = {key: fields[key] for key in KEYS[2:] if key in fields}
    if flat := [key for key, table in tables.items() if not isinstance(table, dict)]:
        raise UserError(f"In {path}, {flat[0]} must be a table: write [{flat[0]}].")
    return _replace(fields, lambda value: absolute(value) if isinstance(value, str) else value)


def read_toml(path: str) -> dict[str, Any]:
    """The content of a TOML file.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return tomllib.loads(read_text(Path(path).expanduser()))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: name a TOML file of settings.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as TOML ({error}).") from None


def nested(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in a preset's file as parts of a configuration."""
    from mechgrok.configuration.settings import nest

    fields = _replace(fields, lambda value: None if value == "none" else value)
    parts = {key: value for key, value in fields.items() if key in KEYS[1:-1]}
    for part, settings in nest(fields.get("set", {})).items():
        parts[part] = parts.get(part, {}) | settings if isinstance(settings, dict) else settings
    return parts


def merge(preset: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Override a preset with options, for `mechgrok.configuration.RunConfig.make`.

    If an option chooses another task, model or optimizer, settings of the preset that do not apply
    to it are dropped (`left_out`).
    """
    dropped = left_out(preset, given)
    merged = {
        part: {key: value for key, value in fields.items() if f"{part}.{key}" not in dropped}
        for part, fields in _parts(preset).items()
    }
    for part, fields in given.items():
        merged[part] = merged[part] | fields if part in merged else fields
    return {**preset, **merged}


def left_out(preset: dict[str, Any], given: dict[str, Any]) -> list[str]:
    """The settings of a preset, as paths, that do not apply with these options."""
    before = _parts(preset)
    after = {part: before[part] | given.get(part, {}) for part in before}
    return [
        f"{part}.{key}"
        for part, applies in (("task", _task), ("model", _model), ("training", _training))
        for key in before[part]
        if key not in given.get(part, {}) and not applies(key, before[part], after[part])
    ]


def _parts(preset: dict[str, Any]) -> dict[str, dict[str, Any]]:
    usual: dict[str, dict[str, Any]] = {
        "task": {"name": "add"},
        "model": {"kind": "mlp"},
        "training": {},
    }
    return {part: fields | preset.get(part, {}) for part, fields in usual.items()}


def _task(key: str, before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether a setting applies: to tasks of the same class, and to user tasks that have it.

    Built-in tasks of another class keep their own defaults.
    """
    from mechgrok import user_code
    from mechgrok.tasks import custom
    from mechgrok.tasks.making import TASKS

    if not user_code.is_own(after["name"]):
        return TASKS.resolve(before["name"]) == TASKS.resolve(after["name"])
    try:
        return key in custom.load(user_code.absolute(after["name"])).model_fields
    except UserError:  # Making the configuration refuses it with a better message.
        return True


def _model(key: str, before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether a setting applies: to any kind of model that has it and accepts its value."""
    if before["kind"] == after["kind"]:
        return True
    from mechgrok.models.making import config_class

    shape = config_class(after["kind"])
    if key not in shape.model_fields:
        return False
    try:
        shape(**{"kind": after["kind"], key: before[key]})
    except ValueError:
        return False
    return True


def _training(key: str, before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether a setting applies: an option of an optimizer or transform needs one that has it."""
    from mechgrok.configuration.training import TrainingConfig
    from mechgrok.optimization.optimizers import choose_optimizer
    from mechgrok.optimization.transforms.reading import read_transforms

    if key in TrainingConfig.model_fields:
        return True
    optimizer = after.get("optimizer", before.get("optimizer", "adamw"))
    name = optimizer["name"] if isinstance(optimizer, dict) else optimizer
    try:
        chosen = (choose_optimizer(name), *read_transforms(after.get("transforms")))
        return any(key in type(part).model_fields for part in chosen)
    except UserError:  # Making the configuration refuses it with a better message.
        return True


def _folder() -> Any:
    return files("mechgrok.configuration.presets")


@cache
def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((_folder() / f"{name}.toml").read_text(encoding="utf-8"))


def _replace(value: Any, change: Callable[[Any], Any]) -> Any:
    """A copy of ``value`` with a change to everything but tables."""
    if isinstance(value, Mapping):
        return {key: _replace(item, change) for key, item in value.items()}
    return change(value)
