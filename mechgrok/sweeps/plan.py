"""The plan of a sweep: which runs there are, what each is made from, and where it lies.

A plan is a grid of settings times seeds, and stages of runs made from those: tickets of the base
runs, edge-popup in the tickets. It is written as ``sweep.toml``, which a person can read, edit and
run again::

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
Make = Literal["ticket", "popup"]
#: The first stage: runs trained from fresh weights.
BASE = "base"
_SHIPPED = Path(__file__).parent / "shipped"
#: A folder's name is cut to this many characters; a digest distinguishes what was cut.
_LONGEST_NAME = 120
#: Upper bound on the number of runs.
_MAX_RUNS = 1_000_000


@dataclass(frozen=True)
class Stage:
    """Runs made from each run of an earlier stage.

    Attributes:
        make: how: "ticket" (`train_ticket`) or "popup" (`train_popup`).
        of: the stage that it is made from: "base", or the ``name`` of a stage before it.
        name: what later stages and selections call it; ``make`` unless given.
        options: the values of each option of the function that makes it, and of training settings.
    """

    make: Make
    of: str = BASE
    name: str = ""
    options: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> Self:
        """A stage from TOML or from Python: ``{"make": "ticket", "rate": "0.1:0.9:0.1"}``.

        Raises:
            UserError: what it makes is unknown, or an option cannot be one.
        """
        given = dict(_table(fields, "stage"))
        make = given.pop("make", "ticket")
        if make not in get_args(Make):
            raise UserError(f"A sweep cannot make {make!r}: choose {choices(get_args(Make))}.")
        of, name = str(given.pop("of", BASE)), str(given.pop("name", make))
        if odd := [key for key in given if not key.isidentifier()]:
            raise UserError(f"{odd[0]!r} is no option of a {make}: name one of mechgrok {make}.")
        return cls(make, of, name, {key: tuple(as_values(v)) for key, v in given.items()})

    def as_toml(self) -> dict[str, Any]:
        """The fields that `read` takes."""
        named = {} if self.name == self.make else {"name": self.name}
        return {"make": self.make, "of": self.of, **named, **_shown(self.options)}


@dataclass(frozen=True)
class Member:
    """One run of a sweep.

    Attributes:
        name: its folder in the sweep's folder.
        stage: the stage's name; "base" for runs trained from fresh weights.
        settings: its settings and its parent's, by their short names. An option of a later stage
            with the name of an earlier setting has the stage's name in front: ``popup.rate`` beside
            a ticket's ``rate``.
        config: what to train, for a base run.
        make: what makes it from its parent; None for a base run.
        parent: the name of the run that it is made from.
        options: of the function that makes it.
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
        """A text that is equal for two members if and only if they are the same run."""
        if self.config is not None:
            return self.config.model_dump_json(exclude={"versions"})
        return json.dumps([self.make, self.parent, dict(self.options)], sort_keys=True)

    def __reduce__(self) -> tuple[Any, ...]:
        """Members are pickled as plain values: the class of a user's task has no module."""
        config = self.config and self.config.model_dump(mode="json")
        plain = (dict(self.settings), config, self.make, self.parent, dict(self.options))
        return _unpickle, (self.name, self.stage, *plain)


def _unpickle(name: str, stage: str, settings: Any, config: Any, *made: Any) -> Member:
    return Member(name, stage, settings, config and RunConfig.make(**config), *made)


@dataclass(frozen=True)
class Plan:
    """Which runs a sweep has.

    Attributes:
        preset: what the base runs start from.
        set: settings that all base runs share, by name.
        over: the values of each swept setting, by name.
        seeds: values for the seed of the weights and that of the split together; none to leave
            both as the preset has them.
        stages: the runs that are made from the base runs, and from those in turn.
        also: further plans in the same folder; a run of several plans is trained once.
        name: begins the names of its runs and selects them (``sweep.sel(plan=name)``) where there
            are several plans.
    """

    preset: str = presets.DEFAULT
    set: Mapping[str, Any] = field(default_factory=dict)
    over: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    seeds: tuple[Value, ...] = ()
    stages: tuple[Stage, ...] = ()
    also: tuple["Plan", ...] = ()
    name: str = ""

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> Self:
        """A plan from TOML, or from Python's values.

        Raises:
            UserError: a key is unknown, or a value is not one.
        """
        known = ("name", "preset", "set", "over", "seeds", "stage", "also")
        if unknown := [key for key in fields if key not in known]:
            raise UserError(f"A sweep's plan has no {unknown[0]!r}: its keys are {choices(known)}.")
        over, shared = (_table(fields.get(name, {}), name) for name in ("over", "set"))
        for name in (*over, *shared):
            path_of(name)
        plan = cls(
            preset=str(fields.get("preset", presets.DEFAULT)),
            set={k: None if v == "none" else v for k, v in shared.items()},
            over={name: tuple(as_values(v)) for name, v in over.items()},
            seeds=tuple(as_values(fields["seeds"])) if "seeds" in fields else (),
            stages=_in_order([Stage.read(stage) for stage in _tables(fields, "stage")]),
            also=tuple(cls.read(_table(other, "also")) for other in _tables(fields, "also")),
            name=str(fields.get("name", "")),
        )
        plan._check()
        return plan

    @classmethod
    def load(cls, file: Path) -> Self:
        """The plan in a ``sweep.toml``.

        Raises:
            UserError: the file cannot be read, or is no plan.
        """
        try:
            fields = tomllib.loads(read_text(file))
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(f"{file} cannot be read as a sweep's plan ({error}).") from None
        return cls.read(fields)

    @classmethod
    def shipped(cls) -> dict[str, Path]:
        """The plans that come with the project, by name: the files of their ``sweep.toml``."""
        return {file.stem: file for file in sorted(_SHIPPED.glob("*.toml"))}

    def as_toml(self) -> str:
        """The text of a ``sweep.toml`` that `load` reads back."""
        return tomli_w.dumps(self.fields())

    def fields(self) -> dict[str, Any]:
        """As `read` takes them."""
        fields = {
            "name": self.name,
            "preset": self.preset,
            "seeds": _shown_values(self.seeds),
            "set": {name: "none" if value is None else value for name, value in self.set.items()},
            "over": _shown(self.over),
            "stage": [stage.as_toml() for stage in self.stages],
            "also": [other.fields() for other in self.also],
        }
        return {name: value for name, value in fields.items() if value}

    def _check(self) -> None:
        paths = [path_of(name) for name in (*self.over, *self.set)]
        if self.seeds:
            paths += ["seed", "task.split_seed"]
        if twice := [path for path in paths if paths.count(path) > 1]:
            raise UserError(f"{twice[0]} is set twice: either sweep it or set it.")
        if len(self) > _MAX_RUNS:
            raise UserError(
                f"The plan holds {len(self):,} runs, more than {_MAX_RUNS:,}: sweep fewer values."
            )

    def __len__(self) -> int:
        """The number of runs; those of several plans count several times."""
        base = prod(map(len, self.over.values())) * (len(self.seeds) or 1)
        sizes = {BASE: base}
        total = base
        for stage in self.stages:
            size = sizes[stage.of] * prod(map(len, stage.options.values()))
            sizes[stage.name] = sizes.get(stage.name, 0) + size
            total += size
        return total + sum(map(len, self.also))

    def members(self) -> list[Member]:
        """The runs, each once, parents before the runs that are made from them.

        Raises:
            UserError: a setting is unknown, or a value of one does not fit.
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
        """This plan's members, with further settings that tell it from other plans."""
        made: dict[str, list[Member]] = {BASE: []}
        preset = presets.load(self.preset)
        labels = labels | {"plan": self.name} if self.name else labels
        for swept in self._grid():
            settings = {**labels, **self.set, **swept}
            run = Member("", BASE, _as_values(settings), self._config(preset, swept))
            short = (_folder_name(swept) or BASE, _folder_name(run.settings))
            wanted = [
                _cut(f"{_file_name(self.name)}-{each}") if self.name else each for each in short
            ]
            made[BASE].append(replace(run, name=names.of(run, *wanted)))
        yield from made[BASE]
        for stage in self.stages:
            family = [
                _made(stage, parent, options, names)
                for parent in made[stage.of]
                for options in _combinations(stage.options)
            ]
            made.setdefault(stage.name, []).extend(family)
            yield from family

    def _grid(self) -> Iterator[dict[str, Value]]:
        axes = {**self.over, **({"seed": self.seeds} if self.seeds else {})}
        return _combinations(axes)

    def _config(self, preset: dict[str, Any], swept: Mapping[str, Value]) -> RunConfig:
        given = dict(self.set) | dict(swept)
        if self.seeds:
            given["split_seed"] = swept["seed"]
        return RunConfig.make(**presets.merge(preset, nest(given)))

    def trusted(self) -> Self:
        """The plan as a user has just given it: the user code that it names may be loaded.

        Files of that code get absolute paths, so that they are found from anywhere.
        """
        stages = [replace(stage, options=_allowed(stage.options)) for stage in self.stages]
        shared = {name: trust_and_normalize(name, value) for name, value in self.set.items()}
        return replace(self, set=shared, over=_allowed(self.over), stages=tuple(stages))


def _allowed(axes: Mapping[str, tuple[Value, ...]]) -> dict[str, tuple[Value, ...]]:
    return {
        name: tuple(trust_and_normalize(name, value) for value in values)
        for name, values in axes.items()
    }


class _Names:
    """The names of the runs' folders, one for each run."""

    def __init__(self) -> None:
        self._by_identity: dict[str, str] = {}
        self._taken: set[str] = set()

    def of(self, member: Member, *wanted: str) -> str:
        """The name of a run: the one that it has, else the first free one of these."""
        identity = member.identity
        if identity not in self._by_identity:
            last = f"{wanted[-1]}-{_digest(identity)}"
            name = next((each for each in wanted if each not in self._taken), last)
            self._by_identity[identity] = name
            self._taken.add(name)
        return self._by_identity[identity]


def _in_order(stages: list[Stage]) -> tuple[Stage, ...]:
    """The stages, each after the one that it is made from.

    Raises:
        UserError: there is no such stage, or they form a circle.
    """
    names, ordered, left = [BASE], [], list(stages)
    while left:
        ready = [stage for stage in left if stage.of in names]
        if not ready:
            raise UserError(
                f"The stage {left[0].name} is made of {left[0].of!r}, which is no stage before it: "
                f"choose {choices(dict.fromkeys(names))}."
            )
        ordered += ready
        names += [stage.name for stage in ready]
        left = [stage for stage in left if stage not in ready]
    return tuple(ordered)


def _made(stage: Stage, parent: Member, options: dict[str, Value], names: _Names) -> Member:
    known = parent.settings
    own = {f"{stage.name}.{key}" if key in known else key: v for key, v in options.items()}
    run = Member("", stage.name, {**known, **own}, None, stage.make, parent.name, options)
    wanted = "-".join([parent.name, stage.make, _folder_name(options)]).rstrip("-")
    return replace(run, name=names.of(run, _cut(wanted)))


def _as_values(settings: Mapping[str, Any]) -> dict[str, Value]:
    """Settings, with lists and tables as text."""
    plain = int | float | bool | str | None
    return {k: v if isinstance(v, plain) else json.dumps(v) for k, v in settings.items()}


def _combinations(axes: Mapping[str, tuple[Value, ...]]) -> Iterator[dict[str, Value]]:
    for values in product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def _folder_name(settings: Mapping[str, Value]) -> str:
    """The settings as a person reads them in a folder's name: ``weight_decay=0.3,seed=0``."""
    parts = [f"{name}={_file_name(show_value(value))}" for name, value in settings.items()]
    return _cut(",".join(parts))


def _file_name(text: str) -> str:
    """``text`` without what a folder's name cannot hold, and a digest if anything is left out."""
    text = "+".join(map(show_value, entries)) if (entries := parse_list(text)) else text
    safe = "".join(c if c.isalnum() or c in "+-._" else "_" for c in text).lstrip(".")
    return safe if safe == text else f"{safe}_{_digest(text)}"


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 9]}-{_digest(name)}"


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=4).hexdigest()


# --- from and as TOML -----------------------------------------------------------------------------


def _table(given: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise UserError(f"A sweep's plan has {name} as a table of settings, not as {given!r}.")
    return given


def _tables(fields: Mapping[str, Any], name: str) -> list[Any]:
    given = fields.get(name, [])
    if not isinstance(given, list | tuple):
        raise UserError(f"A sweep's plan has {name} as tables, [[{name}]], not as {given!r}.")
    return list(given)


def _shown_values(values: tuple[Value, ...]) -> str | list[Any]:
    """Values as one text, ``0.3,1,3``; as a list where that would be read as something else."""
    text = ",".join(show_value(value) for value in values)
    try:
        same = parse_values(text) == list(values)
    except UserError:
        same = False
    return text if same else ["none" if value is None else value for value in values]


def _shown(axes: Mapping[str, tuple[Value, ...]]) -> dict[str, str | list[Any]]:
    return {name: _shown_values(values) for name, values in axes.items()}
