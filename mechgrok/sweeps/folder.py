"""A sweep: opens many runs, as `Run` opens one."""

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
#: Settings that make no groups: runs that differ in these alone are the same but for chance.
SEEDS = ("seed", "split_seed")
#: What a stage is called beside the settings.
STAGE = "stage"


@neutral_members
class Sweep:
    """Many runs in one folder, with what was varied between them.

    Args:
        path: the folder that ``mechgrok sweep`` wrote.
        members: some of the runs only; `sel` chooses them.
        at_accuracy: t_mem and t_gen are the first steps with this train and test accuracy; those of
            each task's own criterion unless given.

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
            UserError: the folder holds no sweep, or its plan is none.
        """
        folder = Path(path).expanduser()
        if not Sweep.is_at(folder):
            what = "is a file" if folder.exists() else "does not exist"
            what = f"holds no {PLAN}" if folder.is_dir() else what
            raise UserError(f"{folder} is not a sweep: it {what}; make one with mechgrok sweep.")
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
        """The runs that are there, by name; those not begun yet are missing."""
        from mechgrok.runs import Run

        folders = {member.name: self.path / member.name for member in self.members}
        return {n: Run(at) for n, at in folders.items() if (at / "config.json").is_file()}

    @property
    def dims(self) -> dict[str, list[Value]]:
        """What was varied between these runs: each setting's values, in the plan's order.

        ``stage`` comes first where runs of several stages are among them. A setting that has one
        value in all runs of a stage, in each of them, is none of these.
        """
        stages: dict[str, list[Member]] = {}
        for member in self.members:
            stages.setdefault(member.stage, []).append(member)
        dims: dict[str, list[Value]] = {STAGE: list(stages)} if len(stages) > 1 else {}
        for name in dict.fromkeys(name for member in self.members for name in member.settings):
            values = [_distinct(_setting(m, name) for m in of) for of in stages.values()]
            if any(len(each) > 1 for each in values):
                dims[name] = _distinct(value for each in values for value in each)
        return dims

    def sel(self, **settings: object) -> Self:
        """The runs with these settings: ``sweep.sel(weight_decay=1, stage="ticket")``.

        A value may be several, as text or as a list: ``sweep.sel(seed="0:3")``.

        Raises:
            UserError: no run has such a setting, or none has that value.
        """
        chosen = self.members
        for name, wanted in settings.items():
            known = _distinct(_setting(member, name) for member in self.members)
            if known == [None] and not any(name in member.settings for member in self.members):
                axes = dict.fromkeys(n for m in self.members for n in (STAGE, *m.settings))
                raise UserError(f"{self.path} varies no {name!r}: choose {choices(axes)}.")
            values = as_values(wanted)
            chosen = [m for m in chosen if any(_same(_setting(m, name), v) for v in values)]
            if not chosen:
                listed = ", ".join(show_value(value) for value in known)
                raise UserError(
                    f"{self.path} has no run with {name} = {wanted} among those chosen: the values "
                    f"of {name} are {listed}."
                )
        return type(self)(self.path, chosen, at_accuracy=self.at_accuracy)

    @property
    def table(self) -> pd.DataFrame:
        """A row a run: its stage and settings, how far it came, milestones and accuracies.

        Columns: ``stage``, the settings, ``status`` ("finished", "unfinished", "diverged",
        "missing" or "damaged"), ``step`` (of the last evaluation), ``t_mem``, ``t_gen``,
        ``tau_grok`` (missing where not reached), ``train_accuracy``, ``test_accuracy``,
        ``best_test_accuracy``. Only runs that have changed since the last time are read.
        """
        return table_of(self.path, self.members, self.at_accuracy)

    @property
    def finished(self) -> set[str]:
        """The names of the runs that are there, trained to their end."""
        status = self.table["status"]
        return set(status.index[status == "finished"])

    def time_to_event(
        self, milestone: str = "t_gen", by: Sequence[str] | str | None = None
    ) -> dict[tuple[Value, ...], TimeToEvent]:
        """How long t_gen (t_mem, tau_grok) took in each group of runs, unreached ones censored.

        Args:
            milestone: "t_gen", "t_mem" or "tau_grok".
            by: the settings whose values make the groups; all that are varied, but for the seeds,
                unless given.

        Returns:
            `TimeToEvent` by the values of ``by``; runs not evaluated yet are left out.
        """
        return times_by_group(self.table, self.groups(by), milestone)

    def waiting(
        self, milestone: str = "t_gen", by: Sequence[str] | str | None = None
    ) -> dict[tuple[Value, ...], TimeToEvent]:
        """The old name of `time_to_event`."""
        warnings.warn("Sweep.waiting is now time_to_event.", DeprecationWarning, stacklevel=2)
        return self.time_to_event(milestone, by)

    def groups(self, by: Sequence[str] | str | None = None) -> dict[tuple[Value, ...], list[str]]:
        """The names of the runs that have been evaluated, by their values of ``by``."""
        names = self.grouping(by)
        evaluated = self.table["step"].notna()
        groups: dict[tuple[Value, ...], list[str]] = {}
        for member in self.members:
            if evaluated[member.name]:
                key = tuple(_setting(member, name) for name in names)
                groups.setdefault(key, []).append(member.name)
        return groups

    def grouping(self, by: Sequence[str] | str | None = None) -> list[str]:
        """The settings that make groups of the runs: ``by``, or all that vary but the seed.

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
        """The metrics of all runs: a variable for each column, over what was varied and ``step``.

        NaN where a run was not evaluated (it ended earlier, say).
        """
        return self.stack(
            {name: run.metrics.set_index("step").to_xarray() for name, run in self.runs.items()}
        )

    def stack(self, answers: "Mapping[str, xr.Dataset]") -> "xr.Dataset":
        """One dataset of many, with what was varied as its first dimensions.

        Args:
            answers: a dataset for each run, by name. They may be over different steps or
                frequencies: what one of them lacks is NaN.
        """
        from mechgrok.sweeps.stacking import stacked

        dims = self.dims
        chosen = [member for member in self.members if member.name in answers]
        coordinates = {n: [_setting(member, n) for member in chosen] for n in dims}
        return stacked([answers[member.name] for member in chosen], coordinates)


def setting_names(by: Sequence[str] | str) -> list[str]:
    """The settings to group runs by, given as text with commas or as a list."""
    return [name.strip() for name in by.split(",")] if isinstance(by, str) else list(by)


def _setting(member: Member, name: str) -> Value:
    return member.stage if name == STAGE else member.settings.get(name)


def _same(a: Value, b: Value) -> bool:
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def _distinct(values: Iterator[Value]) -> list[Value]:
    return list({(type(value) is bool, value): value for value in values}.values())
