"""The plan of a sweep: its runs, their parents and their folders.

A plan is a grid of settings times seeds, plus stages of runs made from earlier ones: tickets of the
base runs, edge-popup in the tickets. It is saved as an editable ``sweep.toml``::

    preset = "quick"
    seeds = "0:8"

    [set]
    steps = 5000

    [over]
    weight_decay = "0.3,1,3"

    [[stage]]
    make = "ticket"
    rate = "0.1:0.9:0.1"
"""

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, Literal, Self, get_args

import tomli_w

from mechgrok.configuration import presets
from mechgrok.configuration.run_config import RunConfig
from mechgrok.configuration.settings import nest, path_of, trust_and_normalize
from mechgrok.errors import UserError, choices
from mechgrok.files import read_text
from mechgrok.grammar import Value, as_values, parse_list, parse_values, show_value

#: The function that makes a run of a later stage.
Make = Literal["ticket", "popup", "retrain"]
#: The first stage: runs trained from fresh weights.
BASE = "base"
_SHIPPED = Path(__file__).parent / "shipped"
#: Maximal length of a folder's name; a longer one is cut and ends in a digest.
_LONGEST_NAME = 120
#: Upper bound on the number of runs.
_MAX_RUNS = 1_000_000


@dataclass(frozen=True)
class Stage:
    """Runs made from each run of an earlier stage.

    Attributes:
        make: "ticket" (`train_ticket`), "popup" (`train_popup`) or "retrain" (`retrain`).
        of: the stage of the parents: "base", or the ``name`` of an earlier stage.
        name: the name in later stages and selections; default: ``make``.
        options: the values of each option of that function, and of training settings.
    """

    make: Make
    of: str = BASE
    name: str = ""
    options: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> Self:
        """Read a stage from TOML or Python values: ``{"make": "ticket", "rate": "0.1:0.9:0.1"}``.

        Raises:
            UserError: ``make`` is unknown, or the name of an option is not an identifier.
        """
        options = dict(_table(fields, "stage"))
        make = options.pop("make", "ticket")
        if make not in get_args(Make):
            raise UserError(f"A sweep cannot make {make!r}: choose {choices(get_args(Make))}.")
        of, name = str(options.pop("of", BASE)), str(options.pop("name", make))
        if invalid := [key for key in options if not key.isidentifier()]:
            raise UserError(f"{invalid[0]!r} is not an option of mechgrok {make}: see its --help.")
        return cls(make, of, name, {key: tuple(as_values(v)) for key, v in options.items()})

    def as_toml(self) -> dict[str, Any]:
        """The inverse of `read`."""
        name = {} if self.name == self.make else {"name": self.name}
        return {"make": self.make, "of": self.of, **name, **_format_axes(self.options)}


@dataclass(frozen=True)
class Member:
    """One run of a sweep.

    Attributes:
        name: its folder in the sweep's folder.
        stage: the stage's name; "base" for runs trained from fresh weights.
        settings: its settings and its parent's, by their short names. A stage's name distinguishes
            options of the same name: ``popup.rate`` and a ticket's ``rate``.
        config: the configuration of a base run.
        make: "ticket", "popup" or "retrain"; None for a base run.
        parent: the name of its parent; None for a base run.
        options: the options of `train_ticket`, `train_popup` or `retrain`.
    """

    name: str
    stage: str
    settings: Mapping[str, Value]
    config: RunConfig | None = None
    make: Make | None = None
    parent: str | None = None
    options: Mapping[str, Value] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """A text that identifies the run: equal for equal runs only."""
        if self.config is not None:
            return self.config.model_dump_json(exclude={"versions"})
        return json.dumps([self.make, self.parent, dict(self.options)], sort_keys=True)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as plain values, because the class of a user's task has no module."""
        config = self.config and self.config.model_dump(mode="json")
        plain = (dict(self.settings), config, self.make, self.parent, dict(self.options))
        return _unpickle, (self.name, self.stage, *plain)


def _unpickle(name: str, stage: str, settings: Any, config: Any, *made: Any) -> Member:
    return Member(name, stage, settings, config and RunConfig.make(**config), *made)


@dataclass(frozen=True)
class Plan:
    """The runs of a sweep.

    Attributes:
        preset: the preset of the base runs, or the name of ``base``.
        base: the fields of a preset in a user's file; empty for a preset by name.
        set: settings of all base runs, by name.
        over: the values of each swept setting, by name.
        seeds: values of both the seed of the weights and that of the split; empty to use the
            preset's.
        stages: stages of runs made from the base runs or from earlier stages.
        also: further plans in the same folder; a run of several plans is trained once.
        name: a prefix of the names of its runs, and a setting (``sweep.sel(plan=name)``), to
            distinguish several plans.
    """

    preset: str = presets.DEFAULT
    base: Mapping[str, Any] = field(default_factory=dict)
    set: Mapping[str, Any] = field(default_factory=dict)
    over: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    seeds: tuple[Value, ...] = ()
    stages: tuple[Stage, ...] = ()
    also: tuple["Plan", ...] = ()
    name: str = ""

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> Self:
        """Read a plan from TOML or Python values.

        Raises:
            UserError: a key is unknown, or a value is invalid.
        """
        known = ("name", "preset", "base", "set", "over", "seeds", "stage", "also")
        if unknown := [key for key in fields if key not in known]:
            raise UserError(f"A sweep's plan has no {unknown[0]!r}: its keys are {choices(known)}.")
        over, shared = (_table(fields.get(name, {}), name) for name in ("over", "set"))
        for name in (*over, *shared):
            path_of(name)
        plan = cls(
            preset=str(fields.get("preset", presets.DEFAULT)),
            base=_table(fields.get("base", {}), "base"),
            set={k: None if v == "none" else v for k, v in shared.items()},
            over={name: tuple(as_values(v)) for name, v in over.items()},
            seeds=tuple(as_values(fields["seeds"])) if "seeds" in fields else (),
            stages=sort_stages([Stage.read(stage) for stage in _tables(fields, "stage")]),
            also=tuple(cls.read(_table(other, "also")) for other in _tables(fields, "also")),
            name=str(fields.get("name", "")),
        )
        plan._check()
        return plan

    @classmethod
    def load(cls, file: Path) -> Self:
        """Read the plan in a ``sweep.toml``.

        Raises:
            UserError: the file cannot be read, or holds no valid plan.
        """
        try:
            fields = tomllib.loads(read_text(file))
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(f"{file} cannot be read as a sweep's plan ({error}).") from None
        return cls.read(fields)

    @classmethod
    def shipped(cls) -> dict[str, Path]:
        """The files of the included plans, by name."""
        return {file.stem: file for file in sorted(_SHIPPED.glob("*.toml"))}

    def as_toml(self) -> str:
        """The content of a ``sweep.toml``, for `load`."""
        return tomli_w.dumps(self.fields())

    def fields(self) -> dict[str, Any]:
        """The inverse of `read`."""
        fields = {
            "name": self.name,
            "preset": self.preset,
            "base": dict(self.base),
            "seeds": _format_values(self.seeds),
            "set": {name: "none" if value is None else value for name, value in self.set.items()},
            "over": _format_axes(self.over),
            "stage": [stage.as_toml() for stage in self.stages],
            "also": [other.fields() for other in self.also],
        }
        return {name: value for name, value in fields.items() if value}

    def _check(self) -> None:
        paths = [path_of(name) for name in (*self.over, *self.set)]
        if self.seeds:
            paths += ["seed", "task.split_seed"]
        if duplicates := [path for path in paths if paths.count(path) > 1]:
            raise UserError(f"{duplicates[0]} is set twice: either sweep it or set it.")
        if len(self) > _MAX_RUNS:
            raise UserError(
                f"The plan holds {len(self):,} runs, more than {_MAX_RUNS:,}: sweep fewer values."
            )

    def __len__(self) -> int:
        """The number of runs; a run of several plans counts several times."""
        base = prod(map(len, self.over.values())) * (len(self.seeds) or 1)
        sizes = {BASE: base}
        total = base
        for stage in self.stages:
            size = sizes[stage.of] * prod(map(len, stage.options.values()))
            sizes[stage.name] = sizes.get(stage.name, 0) + size
            total += size
        return total + sum(map(len, self.also))

    def members(self) -> list[Member]:
        """The distinct runs, parents before their children.

        Raises:
            UserError: a setting is unknown, or a value is invalid.
        """
        plans = (self, *self.also)
        several = len({plan.preset for plan in plans}) > 1
        names = _Names()
        members: dict[str, Member] = {}
        for plan in plans:
            for member in plan._own_members(names, {"preset": plan.preset} if several else {}):
                members.setdefault(member.name, member)
        return list(members.values())

    def _own_members(self, names: "_Names", labels: dict[str, Value]) -> Iterator[Member]:
        """The members of this plan alone; ``labels`` are settings that distinguish it."""
        made: dict[str, list[Member]] = {BASE: []}
        preset = presets.nested(self.base) if self.base else presets.load(self.preset)
        labels = labels | {"plan": self.name} if self.name else labels
        for swept in self._grid():
            settings = {**labels, **self.set, **swept}
            run = Member("", BASE, _as_values(settings), self._config(preset, swept))
            candidates = [_folder_name(swept) or BASE, _folder_name(run.settings)]
            if self.name:
                candidates = [_cut(f"{_file_name(self.name)}-{name}") for name in candidates]
            made[BASE].append(replace(run, name=names.of(run, *candidates)))
        yield from made[BASE]
        for stage in self.stages:
            children = [
                _child(stage, parent, options, names)
                for parent in made[stage.of]
                for options in _combinations(stage.options)
            ]
            made.setdefault(stage.name, []).extend(children)
            yield from children

    def _grid(self) -> Iterator[dict[str, Value]]:
        axes = {**self.over, **({"seed": self.seeds} if self.seeds else {})}
        return _combinations(axes)

    def _config(self, preset: dict[str, Any], swept: Mapping[str, Value]) -> RunConfig:
        settings = dict(self.set) | dict(swept)
        if self.seeds:
            settings["split_seed"] = swept["seed"]
        return RunConfig.make(**presets.merge(preset, nest(settings)))

    def trusted(self) -> Self:
        """Allow the user code in the plan, and make the paths of its files absolute."""
        stages = [replace(stage, options=_allowed(stage.options)) for stage in self.stages]
        shared = {name: trust_and_normalize(name, value) for name, value in self.set.items()}
        return replace(self, set=shared, over=_allowed(self.over), stages=tuple(stages))


def _allowed(axes: Mapping[str, tuple[Value, ...]]) -> dict[str, tuple[Value, ...]]:
    return {
        name: tuple(trust_and_normalize(name, value) for value in values)
        for name, values in axes.items()
    }


class _Names:
    """Assigns a folder name to each run."""

    def __init__(self) -> None:
        self._by_identity: dict[str, str] = {}
        self._taken: set[str] = set()

    def of(self, member: Member, *candidates: str) -> str:
        """The name of a run; a new run gets the first free candidate."""
        identity = member.identity
        if identity not in self._by_identity:
            last = f"{candidates[-1]}-{_digest(identity)}"
            name = next((name for name in candidates if name not in self._taken), last)
            self._by_identity[identity] = name
            self._taken.add(name)
        return self._by_identity[identity]


def sort_stages(stages: list[Stage]) -> tuple[Stage, ...]:
    """Sort stages so that each follows the stage of its parents.

    Raises:
        UserError: there is no such stage, or the stages form a cycle.
    """
    names, ordered, remaining = [BASE], [], list(stages)
    while remaining:
        ready = [stage for stage in remaining if stage.of in names]
        if not ready:
            raise UserError(
                f"The stage {remaining[0].name} is of {remaining[0].of!r}, which is not an "
                f"earlier stage: choose {choices(dict.fromkeys(names))}."
            )
        ordered += ready
        names += [stage.name for stage in ready]
        remaining = [stage for stage in remaining if stage not in ready]
    return tuple(ordered)


def _child(stage: Stage, parent: Member, options: dict[str, Value], names: _Names) -> Member:
    inherited = parent.settings
    own = {f"{stage.name}.{key}" if key in inherited else key: v for key, v in options.items()}
    run = Member("", stage.name, {**inherited, **own}, None, stage.make, parent.name, options)
    name = "-".join([parent.name, stage.make, _folder_name(options)]).rstrip("-")
    return replace(run, name=names.of(run, _cut(name)))


def _as_values(settings: Mapping[str, Any]) -> dict[str, Value]:
    """Convert lists and tables among settings to text."""
    plain = int | float | bool | str | None
    return {k: v if isinstance(v, plain) else json.dumps(v) for k, v in settings.items()}


def _combinations(axes: Mapping[str, tuple[Value, ...]]) -> Iterator[dict[str, Value]]:
    for values in product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def _folder_name(settings: Mapping[str, Value]) -> str:
    """A folder name of settings: ``weight_decay=0.3,seed=0``."""
    parts = [f"{name}={_file_name(show_value(value))}" for name, value in settings.items()]
    return _cut(",".join(parts))


def _file_name(text: str) -> str:
    """Replace characters that a file name cannot contain, and append a digest if there are any."""
    text = "+".join(map(show_value, entries)) if (entries := parse_list(text)) else text
    safe = "".join(c if c.isalnum() or c in "+-._" else "_" for c in text).lstrip(".")
    return safe if safe == text else f"{safe}_{_digest(text)}"


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 9]}-{_digest(name)}"


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=4).hexdigest()


# --- reading and writing TOML ---------------------------------------------------------------------


def _table(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise UserError(f"{name} must be a table of settings in a sweep's plan, not {value!r}.")
    return value


def _tables(fields: Mapping[str, Any], name: str) -> list[Any]:
    value = fields.get(name, [])
    if not isinstance(value, list | tuple):
        raise UserError(f"{name} must be tables, [[{name}]], in a sweep's plan, not {value!r}.")
    return list(value)


def _format_values(values: tuple[Value, ...]) -> str | list[Any]:
    """Format values as text, ``0.3,1,3``, or as a list if the text would not round-trip."""
    text = ",".join(show_value(value) for value in values)
    try:
        same = parse_values(text) == list(values)
    except UserError:
        same = False
    return text if same else ["none" if value is None else value for value in values]


def _format_axes(axes: Mapping[str, tuple[Value, ...]]) -> dict[str, str | list[Any]]:
    return {name: _format_values(values) for name, values in axes.items()}
