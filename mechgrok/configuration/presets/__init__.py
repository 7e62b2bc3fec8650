"""Presets: settings known to grok, by name. Each is a TOML file in this folder.

A preset is a partial run configuration: a ``description``, optionally a ``seed``, and the tables
``[task]``, ``[model]`` and ``[training]`` with fields of a task, a model configuration and
`mechgrok.configuration.training.TrainingConfig`. Other fields keep their defaults, and options
override the preset. As TOML has no null, "none" stands for it (``d_model = "none"`` is an MLP
without an embedding).
"""

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from mechgrok.errors import UserError, choices

#: The preset that is used if none is named.
DEFAULT = "paper-mlp"


def names() -> dict[str, str]:
    """All presets with their one-line descriptions: the default, then the others alphabetically."""
    presets = sorted(
        (file.name[:-5] for file in _folder().iterdir() if file.name.endswith(".toml")),
        key=lambda name: (name != DEFAULT, name),
    )
    return {name: _read(name)["description"] for name in presets}


def load(name: str) -> dict[str, Any]:
    """The fields of `mechgrok.configuration.RunConfig` that a preset sets.

    Returns:
        A new nested dictionary with keys among task, model, training and seed.

    Raises:
        UserError: there is no such preset; the message lists the presets.
    """
    if name not in names():
        raise UserError(f"There is no preset {name!r}: choose {choices(names())}.")
    fields = _null(_read(name))
    del fields["description"]
    return fields


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


def _null(value: Any) -> Any:
    """A copy of ``value`` with None for every "none"."""
    if isinstance(value, dict):
        return {key: _null(item) for key, item in value.items()}
    return None if value == "none" else value
