"""Sweep: opens a folder of many runs."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pandas as pd

from mechgrok.errors import UserError, choices
from mechgrok.global_state import neutral_members
from mechgrok.grammar import Value, as_values, show_value
from mechgrok.notebooks import html_frame
from mechgrok.sweeps.plan import Member, Plan
from mechgrok.sweeps.survival import TimeToEvent, times_by_group
from mechgrok.sweeps.table import table_of

if TYPE_CHECKING:
    import xarray as xr

    from mechgrok.runs import Run

PLAN = "sweep.toml"
#: Settings that form no groups: runs that differ only in these are replicates.
SEEDS = ("seed", "split_seed")
#: The name of the stage among the settings.
STAGE = "stage"


@neutral_members
class Sweep:
    """Many runs in one folder, with their settings.

    Args:
        path: the folder that ``mechgrok sweep`` wrote.
        members: a selection of the runs, as made by `sel`; default: all.
        at_accuracy: the train and test accuracy for t_mem and t_gen; default: each task's own
            criterion.

    Raises:
        UserError: the folder holds no sweep.
    """

    def __init__(
        self,
        path: str | Path,
        members: Sequence[Member] | None = None,
        *,
        at_accuracy: float | None = None,
    ) -> None:
        self.path = Path(path).expanduser()
        self.at_accuracy = at_accuracy
        self.plan = self.plan_of(self.path)
        self.members = list(self.plan.members() if members is None else members)

    @classmethod
    def is_at(cls, path: str | Path) -> bool:
        """Whether the folder at ``path`` holds a sweep."""
        return (Path(path).expanduser() / PLAN).is_file()

    @staticmethod
    def plan_of(path: str | Path) -> Plan:
        """The plan of the sweep at ``path``.

        Raises:
            UserError: the folder holds no sweep, or an invalid plan.
        """
        folder = Path(path).expanduser()
        if not Sweep.is_at(folder):
            reason = "is a file" if folder.exists() else "does not exist"
            reason = f"holds no {PLAN}" if folder.is_dir() else reason
            raise UserError(f"{folder} is not a sweep: it {reason}; make one with mechgrok sweep.")
        return Plan.load(folder / PLAN)

    def at(self, accuracy: float | None) -> Self:
        """The same runs, with t_mem and t_gen at another accuracy."""
        return type(self)(self.path, self.members, at_accuracy=accuracy)

    def __repr__(self) -> str:
        axes = ", ".join(f"{name} × {len(values)}" for name, values in self.dims.items())
        return f"Sweep({str(self.path)!r}: {len(self.members)} runs; {axes or 'nothing varied'})"

    def _repr_html_(self) -> str:
        return html_frame(repr(self), self.table)

    def __len__(self) -> int:
        return len(self.members)

    def __iter__(self) -> "Iterator[Run]":
        return iter(self.runs.values())

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.resolve().name

    @cached_property
    def runs(self) -> "dict[str, Run]":
        """The runs that have begun, by name."""
        from mechgrok.runs import Run

        folders = {member.name: self.path / member.name for member in self.members}
        return {n: Run(path) for n, path in folders.items() if (path / "config.json").is_file()}

    @property
    def dims(self) -> dict[str, list[Value]]:
        """The settings that vary between these runs, with their values in the plan's order.

        ``stage`` comes first if there are several stages. A setting must vary within a stage.
        """
        stages: dict[str, list[Member]] = {}
        for member in self.members:
            stages.setdefault(member.stage, []).append(member)
        dims: dict[str, list[Value]] = {STAGE: list(stages)} if len(stages) > 1 else {}
        for name in dict.fromkeys(name for member in self.members for name in member.settings):
            by_stage = [_distinct(_setting(m, name) for m in stage) for stage in stages.values()]
            if any(len(values) > 1 for values in by_stage):
                dims[name] = _distinct(value for values in by_stage for value in values)
        return dims

    def sel(self, **settings: object) -> Self:
        """Select runs by settings: ``sweep.sel(weight_decay=1, stage="ticket")``.

        Several values can be given as text or as a list: ``sweep.sel(seed="0:3")``.

        Raises:
            UserError: no run has such a setting, or such a value.
        """
        chosen = self.members
        for name, selection in settings.items():
            known = _distinct(_setting(member, name) for member in self.members)
            if known == [None] and not any(name in member.settings for member in self.members):
                axes = dict.fromkeys(n for m in self.members for n in (STAGE, *m.settings))
                raise UserError(f"{self.path} varies no {name!r}: choose {choices(axes)}.")
            values = as_values(selection)
            chosen = [m for m in chosen if any(_same(_setting(m, name), v) for v in values)]
            if not chosen:
                listed = ", ".join(show_value(value) for value in known)
                raise UserError(
                    f"{self.path} has no run with {name} = {selection} in this selection: the "
                    f"values of {name} are {listed}."
                )
        return type(self)(self.path, chosen, at_accuracy=self.at_accuracy)

    @property
    def table(self) -> pd.DataFrame:
        """A table with a row per run: stage, settings, status, milestones and accuracies.

        Columns: ``stage``, the settings, ``status`` ("finished", "unfinished", "diverged",
        "missing" or "damaged"), ``step`` (of the last evaluation), ``t_mem``, ``t_gen``,
        ``t_gen_sustained``, ``t_collapse``, ``tau_grok`` (missing where not reached),
        ``collapsed_share`` (missing without an evaluation after t_gen), ``train_accuracy``,
        ``test_accuracy``, ``best_test_accuracy``. Rows are cached; only changed runs are read.
        """
        return table_of(self.path, self.members, self.at_accuracy)

    @property
    def finished(self) -> set[str]:
        """The names of the finished runs."""
        status = self.table["status"]
        return set(status.index[status == "finished"])

    def time_to_event(
        self, milestone: str = "t_gen", by: Sequence[str] | str | None = None
    ) -> dict[tuple[Value, ...], TimeToEvent]:
        """The time to a milestone in each group of runs; unreached milestones are censored.

        Args:
            milestone: "t_gen", "t_gen_sustained", "t_mem" or "tau_grok". A run that ends below the
                criterion has no sustained t_gen, and is censored at its last step.
            by: the settings that form the groups; default: all swept settings but the seeds.

        Returns:
            `TimeToEvent` by the values of ``by``, without runs that have no metrics yet.
        """
        return times_by_group(self.table, self.groups(by), milestone)

    def waiting(
        self, milestone: str = "t_gen", by: Sequence[str] | str | None = None
    ) -> dict[tuple[Value, ...], TimeToEvent]:
        """The old name of `time_to_event`."""
        warnings.warn("Sweep.waiting is now time_to_event.", DeprecationWarning, stacklevel=2)
        return self.time_to_event(milestone, by)

    def groups(self, by: Sequence[str] | str | None = None) -> dict[tuple[Value, ...], list[str]]:
        """The names of the evaluated runs, by their values of ``by``."""
        names = self.grouping(by)
        evaluated = self.table["step"].notna()
        groups: dict[tuple[Value, ...], list[str]] = {}
        for member in self.members:
            if evaluated[member.name]:
                key = tuple(_setting(member, name) for name in names)
                groups.setdefault(key, []).append(member.name)
        return groups

    def grouping(self, by: Sequence[str] | str | None = None) -> list[str]:
        """The settings that form groups: ``by``, or all swept settings but the seeds.

        Raises:
            UserError: one of them does not vary.
        """
        dims = self.dims
        if by is None:
            return [name for name in dims if name not in SEEDS]
        names = setting_names(by)
        for name in names:
            if len(_distinct(_setting(member, name) for member in self.members)) < 2:
                raise UserError(
                    f"{self.path} varies no {name!r}: choose {choices(dims or ['nothing'])}."
                )
        return names

    @property
    def metrics(self) -> "xr.Dataset":
        """The metrics of all runs: a variable per column, over the swept settings and ``step``.

        NaN where a run was not evaluated.
        """
        return self.stack(
            {name: run.metrics.set_index("step").to_xarray() for name, run in self.runs.items()}
        )

    def stack(self, answers: "Mapping[str, xr.Dataset]") -> "xr.Dataset":
        """Combine the runs' datasets into one, with the swept settings as its first dimensions.

        Args:
            answers: a dataset for each run, by name. Their steps or frequencies may differ; missing
                values are NaN.
        """
        from mechgrok.sweeps.stacking import stacked

        dims = self.dims
        chosen = [member for member in self.members if member.name in answers]
        coordinates = {n: [_setting(member, n) for member in chosen] for n in dims}
        return stacked([answers[member.name] for member in chosen], coordinates)


def setting_names(by: Sequence[str] | str) -> list[str]:
    """Parse the settings to group runs by: text with commas, or a list."""
    return [name.strip() for name in by.split(",")] if isinstance(by, str) else list(by)


def _setting(member: Member, name: str) -> Value:
    return member.stage if name == STAGE else member.settings.get(name)


def _same(a: Value, b: Value) -> bool:
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def _distinct(values: Iterator[Value]) -> list[Value]:
    return list({(type(value) is bool, value): value for value in values}.values())
