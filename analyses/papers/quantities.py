"""Quantities of claims: a value for each seed, from the runs of a sweep.

Calling a quantity with a sweep returns a value for each seed with a run. Settings select the runs,
as in `select`: ``t_gen(stage="base", seed=0)``. Quantities can be divided:
``t_gen(network="narrow") / t_gen(network="wide")``.
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

#: The values of a quantity, by seed.
BySeed = Mapping[object, Bounds]
#: The possible values of any number, of a share such as an accuracy, and of a correlation.
ANYTHING, A_SHARE, CORRELATION = Bounds(-math.inf, math.inf), Bounds(0.0, 1.0), Bounds(-1.0, 1.0)


@dataclass(frozen=True)
class Quantity:
    """A value for each seed, from the runs of a sweep.

    Attributes:
        values: maps the sweep to the value of each seed.
        possible: the bounds of any value of this quantity.
    """

    values: Callable[[Sweep], BySeed]
    possible: Bounds = ANYTHING

    def __call__(self, sweep: Sweep) -> BySeed:
        """The value of each seed."""
        return self.values(sweep)

    def __truediv__(self, other: "Quantity") -> "Quantity":
        """The ratio of two quantities, for seeds with both."""

        def values(sweep: Sweep) -> BySeed:
            a, b = self(sweep), other(sweep)
            return {seed: a[seed] / b[seed] for seed in a if seed in b}

        return Quantity(values)


def select(sweep: Sweep, **settings: Any) -> Sweep | None:
    """The runs with these settings, selected by `Sweep.sel`; None if there are none.

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
    """The runs with these settings and at least one evaluation."""
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
    """Yield the seed and the row of `Sweep.table` for each run with these settings."""
    table = sweep.at(accuracy).table
    for member in evaluated(sweep, **settings):
        yield member.settings.get("seed"), table.loc[member.name]


def _milestone(name: str, accuracy: float | None, settings: Mapping[str, Any]) -> Quantity:
    """t_mem or t_gen; censored at the last step of a run that did not reach it."""

    def bounds(row: Any) -> Bounds:
        if pd.isna(row[name]):
            return Bounds.beyond(float(row["step"]))
        return Bounds.exactly(float(row[name]))

    return Quantity(
        lambda sweep: {seed: bounds(row) for seed, row in rows(sweep, accuracy, **settings)}
    )


def t_gen(accuracy: float | None = None, **settings: Any) -> Quantity:
    """The first step with this test accuracy (default: the task's own criterion)."""
    return _milestone("t_gen", accuracy, settings)


def t_mem(accuracy: float | None = None, **settings: Any) -> Quantity:
    """The first step with this train accuracy (default: the task's own criterion)."""
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
    """A number computed from a run; skips seeds without a finite number."""

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
    """A number computed from an analysis.

    Args:
        analysis: the analysis's name.
        value: computes the number from the dataset.
        possible: the bounds of any such number.
        at: the checkpoint nearest to this share of the run's most steps; default: all.
        options: of the analysis.
        settings: of the runs.
    """

    def of(run: Run) -> float:
        dataset = analyze(run, analysis, **(options or {}))
        if at is not None:
            dataset = dataset.sel(step=nearest(run, dataset.step.to_numpy().tolist(), at))
        return value(dataset)

    return of_run(of, possible, **settings)


def nearest(run: Run, steps: Sequence[int], at: float) -> int:
    """The step nearest to a share of the most steps that a run may train."""
    return min(steps, key=lambda step: abs(step - round(run.config.recipe.steps * at)))


def by_setting(sweep: Sweep, name: str, quantity: Quantity) -> dict[Any, BySeed]:
    """A quantity of each seed, by the values of a setting, with numbers in order."""
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
    """Reduce a quantity over all values of a setting to one number per seed.

    Args:
        name: the setting's name.
        quantity: the quantity to reduce.
        reduce: maps the quantity by the setting's values to a number, or None.
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
