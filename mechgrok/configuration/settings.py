"""Names of settings, shared by flags, sweeps and files.

Every field of ``config.json`` has a path such as ``training.weight_decay``. The last part,
``weight_decay``, is enough if no other part of the configuration has a field of that name.
"""

import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from functools import cache
from typing import TYPE_CHECKING, Any

from mechgrok import user_code
from mechgrok.configuration.aliases import ALIASES
from mechgrok.errors import UserError, choices, near
from mechgrok.grammar import split_options

if TYPE_CHECKING:
    from pydantic import BaseModel

#: The parts of a run's configuration that hold settings.
PARTS = ("task", "model", "training")
#: The setting that chooses a part, by the part's name.
PART_KEYS = {"task": "task.name", "model": "model.kind"}
#: The path of a field within a part; a weight's may contain numbers and plus signs.
_FIELD = re.compile(r"[\w+]+(\.[\w+]+)*")
#: Settings that hold names with options, which may name user code.
NAMES_WITH_OPTIONS = (
    "start",
    "training.transforms",
    "training.constraints",
    "training.phases",
    "training.probes",
    "training.metrics",
)
#: Further settings whose value may name user code.
NAMING_CODE = {"task.name", "task.operations", "model.kind", "training.optimizer", "method"}


def task_classes() -> "list[type[BaseModel]]":
    """All classes whose fields are settings of tasks."""
    from mechgrok.tasks.base import Task
    from mechgrok.tasks.making import TASKS

    return [Task, *(TASKS.load(name) for name in ("add", *TASKS.own))]


def model_classes() -> "list[type[BaseModel]]":
    """All classes whose fields are settings of models."""
    from mechgrok.models.config import KINDS, ModelShape

    return [ModelShape, *(shape for shape, *_ in KINDS.values())]


@cache
def names_in(part: str) -> frozenset[str]:
    """The names of all settings of a part, for every task, model or optimizer."""
    from mechgrok.configuration.training import training_options

    if part == "training":
        return frozenset(training_options()) - {"name"}
    classes = task_classes() if part == "task" else model_classes()
    return frozenset(name for part_class in classes for name in part_class.model_fields)


def path_of(name: str) -> str:
    """The path of a setting: ``training.weight_decay`` for ``weight_decay``.

    A dotted name is returned as it is; creating the configuration checks that the field exists.

    Raises:
        UserError: there is no such setting, or several parts have one of that name.
    """
    known = {"seed": "seed", "start": "start", **PART_KEYS, **ALIASES}
    if name in known:
        return known[name]
    if name.startswith("weights."):
        name = f"training.{name}"
    part, dot, field = name.partition(".")
    if dot:
        if part not in PARTS or not _FIELD.fullmatch(field):
            raise UserError(
                f"There is no setting {name!r}: write it as config.json has it, such as "
                "training.weight_decay."
            )
        alias = ALIASES.get(field, "")
        return alias if alias.startswith(f"{part}.") else name
    parts = [part for part in PARTS if name in names_in(part)]
    if not parts:
        names = [*known, *(name for part in PARTS for name in sorted(names_in(part)))]
        raise UserError(
            f"There is no setting {name!r}{near(name, names)}: choose one of config.json, such as "
            "weight_decay or task.label_seed."
        )
    if len(parts) > 1:
        paths = [f"{part}.{name}" for part in parts]
        raise UserError(f"{name} is a setting of several parts: write {choices(paths)}.")
    return f"{parts[0]}.{name}"


def put(settings: dict[str, Any], path: str, value: Any) -> None:
    """Set a field of nested settings, given its path.

    Options may follow the name of a task, a model or an optimizer: ``parity:n=40``.
    """
    *parts, key = path.split(".")
    if path in (*PART_KEYS.values(), "training.optimizer") and isinstance(value, str):
        value, options = split_options(value)
        for name, option in options.items():
            put(settings, f"{parts[0]}.{name}", option)
    for part in parts:
        inner = settings.setdefault(part, {})
        if not isinstance(inner, dict):
            # An optimizer given by name.
            inner = settings[part] = {"name": inner}
        settings = inner
    # Later paths may lead into a dictionary.
    settings[key] = deepcopy(value) if isinstance(value, dict) else value


def nest(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Turn settings by name into the nested parts of a configuration.

    Raises:
        UserError: a name is not a setting.
    """
    nested: dict[str, Any] = {}
    for name, value in settings.items():
        put(nested, path_of(name), value)
    return nested


def trust_and_normalize(name: str, value: Any) -> Any:
    """Trust the user code that a value given by the user names, and make its path absolute."""
    from mechgrok.configuration.phase import Phase
    from mechgrok.configuration.probe import read_probes
    from mechgrok.configuration.training import phases_in
    from mechgrok.fields import named_parts
    from mechgrok.optimization import CONSTRAINTS
    from mechgrok.optimization import TRANSFORMS as transforms
    from mechgrok.starts.reading import STARTS, read_start

    name = ALIASES.get(name, name).rpartition(".")[2]
    registries: dict[str, Any] = {"transforms": transforms, "constraints": CONSTRAINTS}
    if registry := registries.get(name):
        parts = named_parts(registry, value)
        for part in parts:
            given = getattr(part, "name", None) or registry.describe(part)["name"]
            user_code.allow(given)
        return "+".join(map(_absolute, parts)) if isinstance(value, str) else value
    if name == "phases":
        phases = [
            Phase(at=phase.at, **{n: trust_and_normalize(n, v) for n, v in phase.settings.items()})
            for phase in phases_in(value)
        ]
        return "+".join(map(str, phases)) if isinstance(value, str) else phases or None
    if name == "start":
        given = value.get("name") if isinstance(value, Mapping) else value
        if str(given).partition(":")[0] not in STARTS:  # run:ckpts is no code.
            user_code.allow(given)
        start = read_start(value)
        return value if isinstance(value, Mapping) else start and str(start)
    if name == "probes":
        probes = read_probes(value)
        for probe in probes:
            user_code.allow(probe.name)
        return "+".join(map(str, probes))
    if name == "metrics":
        names = value.replace("+", ",").split(",") if isinstance(value, str) else list(value or ())
        for metric in names:
            user_code.allow(metric)
        return "+".join(map(user_code.absolute, names))
    if not user_code.is_own(value):
        return value
    user_code.allow(value)
    return user_code.absolute(value)


def _absolute(part: str) -> str:
    """A transform or a constraint as text, with absolute paths of user code and runs."""
    from mechgrok.optimization.constraints.reading import read_constraints

    return str(*read_constraints(part)) if ":like=" in part else user_code.absolute(part)


def value_at(config: Mapping[str, Any], path: str) -> Any:
    """The value at a path of a configuration in the form of ``config.json``; None if absent.

    >>> value_at({"training": {"steps": 30}}, "training.steps")
    30
    """
    value: Any = config
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def flatten(config: Mapping[str, Any], but: Iterable[str] = ()) -> dict[str, Any]:
    """Flatten a nested configuration into values by path, leaving out the parts ``but``.

    >>> flatten({"seed": 1, "model": {"kind": "mlp"}})
    {'seed': 1, 'model.kind': 'mlp'}
    """
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if key in but:
            continue
        if isinstance(value, Mapping) and value:
            flat |= {f"{key}.{path}": inner for path, inner in flatten(value).items()}
        else:
            flat[key] = value
    return flat
