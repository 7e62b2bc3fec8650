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
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, Literal, Self, get_args

from mechgrok import presets
from mechgrok.config import RunConfig
from mechgrok.errors import UserError, choices
from mechgrok.grammar import Value, as_values, show_value
from mechgrok.sweeps.settings import place, placed

#: What a run of a later stage is made by.
Make = Literal["ticket", "popup"]
#: The first stage: runs trained from fresh weights.
BASE = "base"
#: A folder's name is cut to this many characters; what is cut is told apart by a digest.
_LONGEST_NAME = 120


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
            UserError: it says not what is made, or something that cannot be.
        """
        given = dict(fields)
        make = given.pop("make", "ticket")
        if make not in get_args(Make):
            raise UserError(f"A sweep cannot make {make!r}: choose {choices(get_args(Make))}.")
        of, name = str(given.pop("of", BASE)), str(given.pop("name", make))
        return cls(make, of, name, {key: tuple(as_values(v)) for key, v in given.items()})

    def as_toml(self) -> dict[str, Any]:
        """As `read` reads it back."""
        named = {} if self.name == self.make else {"name": self.name}
        return {"make": self.make, "of": self.of, **named, **_shown(self.options)}


@dataclass(frozen=True)
class Member:
    """One run of a sweep.

    Attributes:
        name: its folder in the sweep's folder.
        stage: the stage's name; "base" for runs trained from fresh weights.
        settings: the swept settings of it, its parent's included, by their short names.
        config: what to train, for a base run.
        make: what makes it of its parent; None for a base run.
        parent: the name of the run it is made from.
        options: of the function that makes it.
    """

    name: str
    stage: str
    settings: Mapping[str, Value]
    config: RunConfig | None = None
    make: Make | None = None
    parent: str | None = None
    options: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """Everything that settles which runs a sweep has.

    Attributes:
        preset: what the base runs start from.
        set: settings that all base runs share, by name.
        over: the values of each swept setting, by name.
        seeds: values for the seed of the weights and that of the split together; none to leave
            both as the preset has them.
        stages: what is made of the base runs, and of what is made of them.
        also: further plans in the same folder; a run that several want is trained once.
    """

    preset: str = presets.DEFAULT
    set: Mapping[str, Value] = field(default_factory=dict)
    over: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    seeds: tuple[Value, ...] = ()
    stages: tuple[Stage, ...] = ()
    also: tuple["Plan", ...] = ()

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> Self:
        """A plan from TOML, or from Python's values.

        Raises:
            UserError: a key is unknown, or a value is none.
        """
        known = ("preset", "set", "over", "seeds", "stage", "also")
        if unknown := [key for key in fields if key not in known]:
            raise UserError(f"A sweep's plan has no {unknown[0]!r}: its keys are {choices(known)}.")
        over = {name: tuple(as_values(v)) for name, v in fields.get("over", {}).items()}
        for name in over:
            place(name)
        plan = cls(
            preset=str(fields.get("preset", presets.DEFAULT)),
            set=dict(fields.get("set", {})),
            over=over,
            seeds=tuple(as_values(fields["seeds"])) if "seeds" in fields else (),
            stages=tuple(Stage.read(stage) for stage in fields.get("stage", ())),
            also=tuple(cls.read(other) for other in fields.get("also", ())),
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
            fields = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{file} cannot be read as a sweep's plan ({error}).") from None
        return cls.read(fields)

    def as_toml(self) -> str:
        """The text of a ``sweep.toml`` that `load` reads back."""
        return "\n".join(_toml_of(self._fields())) + "\n"

    def _fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {"preset": self.preset}
        if self.seeds:
            fields["seeds"] = _one_text(self.seeds)
        if self.set:
            fields["set"] = dict(self.set)
        if self.over:
            fields["over"] = _shown(self.over)
        if self.stages:
            fields["stage"] = [stage.as_toml() for stage in self.stages]
        if self.also:
            fields["also"] = [other._fields() for other in self.also]
        return fields

    def _check(self) -> None:
        names = [BASE]
        for stage in self.stages:
            if stage.of not in names:
                raise UserError(
                    f"The stage {stage.name} is made of {stage.of!r}, which is no stage before it: "
                    f"choose {choices(names)}."
                )
            names.append(stage.name)
        if self.seeds and "seed" in self.over:
            raise UserError("seed is swept twice, by --seeds and by --over: give one of them.")

    def __len__(self) -> int:
        """How many runs there would be, before those that are wanted twice are counted once."""
        base = prod(map(len, self.over.values())) * (len(self.seeds) or 1)
        sizes = {BASE: base}
        total = base
        for stage in self.stages:
            size = sizes[stage.of] * prod(map(len, stage.options.values()))
            sizes[stage.name] = sizes.get(stage.name, 0) + size
            total += size
        return total + sum(map(len, self.also))

    def members(self) -> list[Member]:
        """The runs, parents before what is made of them, each once.

        Raises:
            UserError: a setting is unknown, or a value of one does not fit.
        """
        found: dict[str, Member] = {}
        names: dict[str, str] = {}  # of the run that is wanted first, by identity
        for plan in (self, *self.also):
            for member in plan._own_members(names):
                found.setdefault(member.name, member)
        return list(found.values())

    def _own_members(self, names: dict[str, str]) -> Iterator[Member]:
        """This plan's members; one that exists under another name already keeps that name."""
        made: dict[str, list[Member]] = {BASE: []}
        for settings in self._grid():
            config = self._config(settings)
            identity = config.model_dump_json(exclude={"versions"})
            name = names.setdefault(identity, _folder_name(settings) or BASE)
            made[BASE].append(Member(name, BASE, settings, config))
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

    def _config(self, settings: Mapping[str, Value]) -> RunConfig:
        given = dict(self.set) | dict(settings)
        if self.seeds:
            given["split_seed"] = settings["seed"]
        return RunConfig.make(**presets.merge(presets.load(self.preset), placed(given)))


def _made(stage: Stage, parent: Member, options: dict[str, Value], names: dict[str, str]) -> Member:
    identity = json.dumps([stage.make, parent.name, options], sort_keys=True)
    wanted = "-".join([parent.name, stage.make, _folder_name(options)]).rstrip("-")
    name = names.setdefault(identity, _cut(wanted))
    swept = {key: options[key] for key, values in stage.options.items() if len(values) > 1}
    settings = {**parent.settings, **swept}
    return Member(name, stage.name, settings, None, stage.make, parent.name, options)


def _combinations(axes: Mapping[str, tuple[Value, ...]]) -> Iterator[dict[str, Value]]:
    for values in product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def _folder_name(settings: Mapping[str, Value]) -> str:
    """The settings as a person reads them in a folder's name: ``weight_decay=0.3,seed=0``."""
    parts = [f"{name}={_file_name(show_value(value))}" for name, value in settings.items()]
    return _cut(",".join(parts))


def _file_name(text: str) -> str:
    """``text`` without what a folder's name cannot hold; told apart from others by a digest."""
    safe = "".join(c if c.isalnum() or c in "+-._" else "_" for c in text).lstrip(".")
    return safe if safe == text else f"{safe}_{_digest(text)}"


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 9]}-{_digest(name)}"


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=4).hexdigest()


# --- as TOML ------------------------------------------------------------------------------------


def _one_text(values: tuple[Value, ...]) -> str:
    return ",".join(show_value(value) for value in values)


def _shown(axes: Mapping[str, tuple[Value, ...]]) -> dict[str, str]:
    return {name: _one_text(values) for name, values in axes.items()}


def _toml_of(fields: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Lines of TOML: plain keys, then tables, then arrays of tables."""
    plain = {k: v for k, v in fields.items() if not isinstance(v, dict | list)}
    for key, value in plain.items():
        yield f"{_key(key)} = {_toml_value(value)}"
    for key, value in fields.items():
        if isinstance(value, dict):
            yield from ("", f"[{path}{key}]", *_toml_of(value, f"{path}{key}."))
    for key, value in fields.items():
        for table in value if isinstance(value, list) else ():
            yield from ("", f"[[{path}{key}]]", *_toml_of(table, f"{path}{key}."))


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() else json.dumps(key)


def _toml_value(value: Value) -> str:
    if isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    return '"none"' if value is None else repr(value)
