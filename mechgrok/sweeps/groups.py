"""Groups of runs that have the same settings but different seeds."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pandas as pd

from mechgrok.configuration.settings import flatten, path_of, value_at
from mechgrok.errors import UserError, choices
from mechgrok.grammar import Value, show_value
from mechgrok.runs import Run
from mechgrok.runs.comparison import milestones_and_accuracies
from mechgrok.runs.labels import file_stem, labelled, truncate
from mechgrok.sweeps.folder import SEEDS, STAGE, Sweep, setting_names
from mechgrok.sweeps.survival import TimeToEvent, times_by_group

if TYPE_CHECKING:
    import xarray as xr

#: Parts of a configuration besides settings, and settings that form no groups by default.
_NO_SETTINGS = ("versions", "format")
_OF_ONE_RUN = ("origin", "parent", "step", "checkpoint_every", "keep", "probes", "until_grokked")
#: The steps at which a run memorizes and generalizes, and τ_grok.
MILESTONES = ("t_mem", "t_gen", "t_gen_sustained", "tau_grok")
Key = tuple[Value, ...]
#: A run or a sweep, or the path of its folder.
RunsLike = Run | Sweep | str | Path


@dataclass(frozen=True, eq=False)
class RunGroups:
    """Several runs, divided into groups or not.

    Attributes:
        path: the folder for their figures.
        runs: the runs, by their labels in figures.
        by: the settings that form the groups; None without groups.
        keys: each run's values of ``by``, by its label.
        at_accuracy: as for `Sweep`.
        sweep_table: the runs' rows of `Sweep.table`, if they are from one sweep.
    """

    path: Path
    runs: Mapping[str, Run]
    by: Sequence[str] | None
    keys: Mapping[str, Key]
    at_accuracy: float | None = None
    sweep_table: pd.DataFrame | None = None

    @classmethod
    def open(
        cls,
        paths: Iterable[str | Path],
        by: Sequence[str] | str | None = None,
        *,
        at_accuracy: float | None = None,
    ) -> Self:
        """Open the runs in folders, each a run or a sweep.

        Args:
            paths: the folders. The runs are grouped if ``by`` is given or one of them is a sweep.
            by: settings, as text with commas or as a list; default: those that differ, but the
                seeds.
            at_accuracy: as for `Sweep`.

        Raises:
            UserError: a folder is neither, or holds no run yet; or a setting does not differ.
        """
        paths = [Path(path) for path in paths]
        if len(paths) == 1 and Sweep.is_at(paths[0]):
            return cls.of_sweep(Sweep(paths[0], at_accuracy=at_accuracy), by)
        runs: list[Run] = []
        for path in paths:
            runs += Sweep(path).runs.values() if Sweep.is_at(path) else [Run(path)]
        grouped = by is not None or any(map(Sweep.is_at, paths))
        return cls.of_runs(labelled(runs), by, grouped=grouped, at_accuracy=at_accuracy)

    @classmethod
    def of_runs(
        cls,
        runs: Mapping[str, Run],
        by: Sequence[str] | str | None = None,
        *,
        grouped: bool = False,
        at_accuracy: float | None = None,
    ) -> Self:
        """Group runs, given by label, if ``by`` is given or ``grouped`` is on.

        Raises:
            UserError: a setting does not differ, or does not exist.
        """
        names = _grouping(runs, by) if grouped or by is not None else None
        keys = {
            label: tuple(setting_of(run, name) for name in names or ())
            for label, run in runs.items()
        }
        folder = next(iter(runs.values())).path / "analysis"
        return cls(folder, dict(runs), names, keys, at_accuracy)

    @classmethod
    def of_sweep(cls, sweep: Sweep, by: Sequence[str] | str | None = None) -> Self:
        """Group the evaluated runs of a sweep.

        Raises:
            UserError: no run has been evaluated, or a setting of ``by`` does not vary.
        """
        names = sweep.grouping(by)
        groups = sweep.groups(names)
        if not groups:
            raise UserError(f"{sweep.path} holds no run yet: make them with mechgrok sweep.")
        keys = {name: key for key, members in groups.items() for name in members}
        opened = sweep.runs
        runs = {name: opened[name] for name in keys}
        table = sweep.table.loc[list(keys)]
        return cls(sweep.path / "analysis", runs, names, keys, sweep.at_accuracy, table)

    def __len__(self) -> int:
        return len(self.runs)

    @cached_property
    def table(self) -> pd.DataFrame:
        """A table with a row per run: ``step``, milestones, accuracies, as in `Sweep.table`.

        Raises:
            UserError: a run has no metrics yet.
        """
        if self.sweep_table is not None:
            return self.sweep_table
        rows = {
            label: milestones_and_accuracies(run, self.at_accuracy)
            for label, run in self.runs.items()
        }
        return pd.DataFrame.from_dict(rows, orient="index")

    @property
    def has_collapses(self) -> bool:
        """Whether a run does not meet the criterion at some evaluation after t_gen."""
        return bool(self.table["t_collapse"].notna().any())

    @property
    def milestones(self) -> tuple[str, ...]:
        """The milestones to show: `MILESTONES`, the sustained t_gen only if a run collapses."""
        return tuple(m for m in MILESTONES if self.has_collapses or m != "t_gen_sustained")

    def about(self) -> dict[str, dict[str, str]]:
        """A description of each group, by name and heading."""
        return {
            self.name(key): {
                "runs": f"{len(labels)}",
                "generalized": f"{self.times['t_gen'][key].n_reached}",
                **{milestone: str(self.times[milestone][key]) for milestone in self.milestones},
            }
            for key, labels in self.groups.items()
        }

    @cached_property
    def times(self) -> dict[str, dict[Key, TimeToEvent]]:
        """The times to `MILESTONES` in each group; unreached ones are censored."""
        return {name: times_by_group(self.table, self.groups, name) for name in MILESTONES}

    @cached_property
    def groups(self) -> dict[Key, list[str]]:
        """The labels of the runs in each group, sorted by key."""
        groups: dict[Key, list[str]] = {}
        for label, key in sorted(self.keys.items(), key=lambda item: _sort_key(item[1])):
            groups.setdefault(key, []).append(label)
        return groups

    def stem(self, name: str) -> str:
        """The stem of a file about these runs."""
        if self.sweep_table is None:
            return file_stem(name, list(self.runs))
        return truncate("-".join([name, *(["by", *self.by] if self.by else [])]))

    def name(self, key: Key) -> str:
        """A group's name in legends: ``weight_decay 0.3, p 59`` or ``ticket, rate 0.6``."""
        parts = [
            show_value(value) if name == STAGE else f"{name} {show_value(value)}"
            for name, value in zip(self.by or (), key, strict=True)
            if value is not None
        ]
        return ", ".join(parts) or (f"no {' or '.join(self.by)}" if self.by else "all runs")

    @property
    def summary(self) -> pd.DataFrame:
        """A table with a row per group: its name, settings, and statistics of its runs.

        ``runs`` and ``generalized`` are counts. The milestones are Kaplan–Meier
        medians, missing if half of the runs or more have not reached them. ``…_low`` and ``…_high``
        are their 95 % intervals, or the range of fewer than six runs; an open end is missing.
        ``test_accuracy`` is the median at the last step.
        """
        rows = {}
        for key, labels in self.groups.items():
            row: dict[str, Any] = dict(zip(self.by or (), key, strict=True))
            row |= {"runs": len(labels), "generalized": self.times["t_gen"][key].n_reached}
            for name, times in self.times.items():
                time = times[key]
                values = {name: time.median, f"{name}_low": time.low, f"{name}_high": time.high}
                row |= {name: value if isfinite(value) else None for name, value in values.items()}
            row["test_accuracy"] = self.table.loc[labels, "test_accuracy"].median()
            rows[self.name(key)] = row
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis(index="group")

    def grouped(self, measured: "Mapping[str, xr.Dataset]") -> "dict[str, xr.Dataset]":
        """Add the group's name to each run's dataset, and sort the datasets by group."""
        if self.by is None:
            return dict(measured)
        return {
            label: measured[label].assign_attrs(group=self.name(key))
            for key, labels in self.groups.items()
            for label in labels
            if label in measured
        }


def setting_of(run: Run, name: str) -> Value:
    """A run's value of a setting of its configuration or its origin.

    Raises:
        UserError: there is no such setting.
    """
    if name == "start":
        return None if run.config.start is None else str(run.config.start)
    if name == "constraints":
        training = run.config.training
        return ", ".join(map(str, training.constraints)) or None if training else None
    config = run.config.model_dump(mode="json")
    origin, popup = config["origin"] or {}, config["popup"] or {}
    if name == STAGE:
        return str(origin.get("kind", "base"))
    for part in (origin, popup):
        if name in part and name != "seed":
            return _plain(part[name])
    if name in _OF_MADE_RUNS:
        return None
    return _plain(value_at(config, path_of(name)))


def _made_settings() -> frozenset[str]:
    from mechgrok.configuration.origins import PopupOptions, TicketOptions

    return frozenset({*TicketOptions.model_fields, *PopupOptions.model_fields}) - {"seed"}


_OF_MADE_RUNS = _made_settings()


def _grouping(runs: Mapping[str, Run], by: Sequence[str] | str | None) -> list[str]:
    """The settings to group by.

    Raises:
        UserError: a setting of ``by`` is the same in all runs.
    """
    if by is None:
        return _differing(runs.values())
    names = setting_names(by)
    for name in names:
        values = {str(setting_of(run, name)) for run in runs.values()}
        if len(values) == 1 and len(runs) > 1:
            differing = _differing(runs.values())
            remedy = f"group by {choices(differing)}" if differing else "omit --by"
            raise UserError(f"{name} is {values.pop()} in all of these runs: {remedy}.")
    return names


def _differing(runs: Iterable[Run]) -> list[str]:
    """The settings that differ between runs, without the seeds, by their short names."""
    configs = [flatten(run.config.model_dump(mode="json"), _NO_SETTINGS) for run in runs]
    names: dict[str, None] = {}
    for path in dict.fromkeys(path for config in configs for path in config):
        part, _, name = path.rpartition(".")
        name = {"origin.kind": STAGE}.get(path, "start" if part == "start" else name)
        differs = len({str(config.get(path)) for config in configs}) > 1
        if differs and name not in (*SEEDS, *_OF_ONE_RUN):
            names[name] = None
    return list(names)


def _plain(value: Any) -> Value:
    return value if value is None or isinstance(value, int | float | bool | str) else str(value)


def _sort_key(key: Key) -> list[tuple[int, float, str]]:
    """Sort numbers by size, then text by the first number in it and alphabetically, then None."""
    return [
        (2, 0.0, "")
        if value is None
        else (1, _first_number(value), value)
        if isinstance(value, str)
        else (0, float(value), "")
        for value in key
    ]


def _first_number(text: str) -> float:
    """The first number in a text, such as 2000 in ``2000:weight_decay=0``; 0 if it has none."""
    match = re.search(r"\d+(\.\d+)?", text)
    return float(match[0]) if match else 0.0
