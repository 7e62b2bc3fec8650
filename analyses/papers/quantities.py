"""What claims are about: a value for each seed, from the runs of a sweep.

A quantity is called with a sweep and returns a value for each seed; a seed without a run has none.
Settings select the runs, as in `select`: ``t_gen(stage="base", seed=0)``. Two quantities have a
ratio: ``t_gen(network="narrow") / t_gen(network="wide")``.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from mechgrok.analyses.papers.estimates import Bounds
from mechgrok.errors import UserError
from mechgrok.measuring import analyze
from mechgrok.runs import Run
from mechgrok.sweeps import Member, Sweep

#: The values of some quantity, by seed.
BySeed = Mapping[object, Bounds]
#: What any number, a share such as an accuracy, and a correlation can be.
ANYTHING, A_SHARE, CORRELATION = Bounds(-math.inf, math.inf), Bounds(0.0, 1.0), Bounds(-1.0, 1.0)


@dataclass(frozen=True)
class Quantity:
    """A value for each seed, from the runs of a sweep.

    Attributes:
        values: from the sweep to the value of each seed.
        possible: the bounds of any value of this quantity.
    """

    values: Callable[[Sweep], BySeed]
    possible: Bounds = ANYTHING

    def __call__(self, sweep: Sweep) -> BySeed:
        """The value of each seed."""
        return self.values(sweep)

    def __truediv__(self, other: "Quantity") -> "Quantity":
        """The ratio of two quantities, for the seeds that have both."""

        def values(sweep: Sweep) -> BySeed:
            a, b = self(sweep), other(sweep)
            return {seed: a[seed] / b[seed] for seed in a if seed in b}

        return Quantity(values)


def select(sweep: Sweep, **settings: Any) -> Sweep | None:
    """The runs with these settings, as `Sweep.sel` selects them; None where there are none.

    ``network="wide"`` selects the runs of a plan by the name of its base run
    (`mechgrok.analyses.papers.scale.Scale.plan`), at any scale.
    """
    if (network := settings.pop("network", None)) is not None:
        settings["plan"] = [network, f"quick-{network}"]
    try:
        return sweep.sel(**settings) if settings else sweep
    except UserError:
        return None


def evaluated(sweep: Sweep, **settings: Any) -> list[Member]:
    """The runs with these settings that have been evaluated at least once."""
    selected = select(sweep, **settings)
    if selected is None:
        return []
    steps = selected.table["step"]
    return [member for member in selected.members if pd.notna(steps[member.name])]


def first_runs(sweep: Sweep, **settings: Any) -> dict[object, Run]:
    """The first run of each seed with these settings."""
    names: dict[object, str] = {}
    for member in evaluated(sweep, **settings):
        names.setdefault(member.settings.get("seed"), member.name)
    return {seed: Run(sweep.path / name) for seed, name in names.items()}


def rows(sweep: Sweep, accuracy: float | None = None, **settings: Any) -> Iterator[tuple[Any, Any]]:
    """Seed and row of `Sweep.table` of each run with these settings."""
    table = sweep.at(accuracy).table
    for member in evaluated(sweep, **settings):
        yield member.settings.get("seed"), table.loc[member.name]


def _milestone(name: str, accuracy: float | None, settings: Mapping[str, Any]) -> Quantity:
    """t_mem or t_gen; beyond the last step of a run that did not reach it."""

    def bounds(row: Any) -> Bounds:
        if pd.isna(row[name]):
            return Bounds.beyond(float(row["step"]))
        return Bounds.exactly(float(row[name]))

    return Quantity(
        lambda sweep: {seed: bounds(row) for seed, row in rows(sweep, accuracy, **settings)}
    )


def t_gen(accuracy: float | None = None, **settings: Any) -> Quantity:
    """The first step with this test accuracy (by the task's own criterion unless given)."""
    return _milestone("t_gen", accuracy, settings)


def t_mem(accuracy: float | None = None, **settings: Any) -> Quantity:
    """The first step with this train accuracy (by the task's own criterion unless given)."""
    return _milestone("t_mem", accuracy, settings)


def tau(accuracy: float | None = None, **settings: Any) -> Quantity:
    """τ_grok = t_gen / t_mem."""
    return t_gen(accuracy, **settings) / t_mem(accuracy, **settings)


def best_accuracy(**settings: Any) -> Quantity:
    """The best test accuracy of each run."""

    def values(sweep: Sweep) -> BySeed:
        return {
            seed: Bounds.exactly(row["best_test_accuracy"]) for seed, row in rows(sweep, **settings)
        }

    return Quantity(values, A_SHARE)


def metric_at(
    step: int, name: str = "test_accuracy", possible: Bounds = ANYTHING, **settings: Any
) -> Quantity:
    """A column of the metrics at the evaluation nearest to a step; −1 is the last one."""

    def value(run: Run) -> float:
        metrics = run.metrics
        at = -1 if step < 0 else int((metrics["step"] - step).abs().to_numpy().argmin())
        return float(metrics[name].iloc[at])

    return of_run(value, possible, **settings)


def of_run(value: Callable[[Run], float], possible: Bounds = ANYTHING, **settings: Any) -> Quantity:
    """Any number of a run; seeds for which it is not finite are left out."""

    def values(sweep: Sweep) -> BySeed:
        numbers = {seed: float(value(run)) for seed, run in first_runs(sweep, **settings).items()}
        return {seed: Bounds.exactly(n) for seed, n in numbers.items() if np.isfinite(n)}

    return Quantity(values, possible)


def answer(
    analysis: str,
    value: Callable[[xr.Dataset], float],
    possible: Bounds = ANYTHING,
    *,
    at: float | None = None,
    options: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Quantity:
    """A number from an analysis.

    Args:
        analysis: its name.
        value: the number, of the analysis's dataset.
        possible: the bounds of any such number.
        at: the share of the run after which to take the number: the dataset is that of the nearest
            checkpoint.
        options: of the analysis.
        settings: of the runs.
    """

    def of(run: Run) -> float:
        dataset = analyze(run, analysis, **(options or {}))
        if at is not None:
            dataset = dataset.sel(step=nearest(dataset.step.to_numpy().tolist(), at))
        return value(dataset)

    return of_run(of, possible, **settings)


def nearest(steps: Sequence[int], at: float) -> int:
    """The step nearest to a share of the last one."""
    return min(steps, key=lambda step: abs(step - round(steps[-1] * at)))


def by_setting(sweep: Sweep, name: str, quantity: Quantity) -> dict[Any, BySeed]:
    """A quantity of each seed, by the values of a setting of the runs, numbers in order."""
    of_runs = dict.fromkeys(member.settings.get(name) for member in sweep.members)
    values: list[Any] = [value for value in of_runs if value is not None]
    if all(isinstance(value, int | float) for value in values):
        values.sort()
    return {value: quantity(sweep.sel(**{name: value})) for value in values}


def over_setting(
    name: str,
    quantity: Quantity,
    reduce: Callable[[dict[Any, Bounds]], float | None],
    possible: Bounds = ANYTHING,
) -> Quantity:
    """A number of each seed from the values of a quantity at all values of a setting.

    Args:
        name: of the setting.
        quantity: what is reduced.
        reduce: from the quantity by the setting's values to a number; None where there is none.
        possible: the bounds of any such number.
    """

    def values(sweep: Sweep) -> BySeed:
        by_seed: dict[object, dict[Any, Bounds]] = {}
        for value, of_seeds in by_setting(sweep, name, quantity).items():
            for seed, bounds in of_seeds.items():
                by_seed.setdefault(seed, {})[value] = bounds
        reduced = {seed: reduce(of_values) for seed, of_values in by_seed.items()}
        return {seed: Bounds.exactly(n) for seed, n in reduced.items() if n is not None}

    return Quantity(values, possible)
