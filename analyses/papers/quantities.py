"""What claims are about: a value for each seed, from the runs of a sweep.

A quantity takes a sweep and gives a value for each seed; what has no run has none. The words behind
the first ones choose runs, as `Sweep.sel` does: ``t_gen(stage="ticket", rate=0.6)``.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from mechgrok.analyses.papers.claims import Known
from mechgrok.errors import UserError
from mechgrok.measuring import analyze
from mechgrok.runs import Run
from mechgrok.sweeps import Sweep

Quantity = Callable[[Sweep], dict[object, Known]]


def chosen(sweep: Sweep, **of: Any) -> Sweep | None:
    """The runs with these settings; None where the sweep has none."""
    try:
        return sweep.sel(**of) if of else sweep
    except UserError:
        return None


def of_plan(sweep: Sweep, name: str, **of: Any) -> Sweep | None:
    """The runs of a network and task (`mechgrok.analyses.papers.runs.runs`), at whichever scale."""
    return chosen(sweep, plan=name, **of) or chosen(sweep, plan=f"quick-{name}", **of)


def names_by_seed(sweep: Sweep, **of: Any) -> dict[object, list[str]]:
    """The names of the runs with these settings that were evaluated, by their seed."""
    found: dict[object, list[str]] = {}
    some = chosen(sweep, **of)
    if some is None:
        return found
    evaluated = some.table["step"].notna()
    for member in some.members:
        if evaluated[member.name]:
            found.setdefault(member.settings.get("seed"), []).append(member.name)
    return found


def rows(sweep: Sweep, accuracy: float | None = None, **of: Any) -> Iterator[tuple[object, Any]]:
    """Seed and row of `Sweep.table` of each of the runs."""
    table = sweep.at(accuracy).table
    for seed, names in names_by_seed(sweep, **of).items():
        for name in names:
            yield seed, table.loc[name]


def t_gen(accuracy: float | None = None, **of: Any) -> Quantity:
    """The first step with this test accuracy; known to be later where a run did not get there."""

    def values(sweep: Sweep) -> dict[object, Known]:
        return {seed: milestone(row, "t_gen") for seed, row in rows(sweep, accuracy, **of)}

    return values


def t_mem(accuracy: float | None = None, **of: Any) -> Quantity:
    """The first step with this train accuracy."""

    def values(sweep: Sweep) -> dict[object, Known]:
        return {seed: milestone(row, "t_mem") for seed, row in rows(sweep, accuracy, **of)}

    return values


def tau(accuracy: float | None = None, **of: Any) -> Quantity:
    """τ_grok = t_gen / t_mem."""
    return over(t_gen(accuracy, **of), t_mem(accuracy, **of))


def milestone(row: Any, mark: str) -> Known:
    """t_mem or t_gen of a row of the table."""
    reached = row[mark]
    if pd.isna(reached):
        return Known.beyond(float(row["step"]))
    return Known.exactly(float(reached))


def best_accuracy(**of: Any) -> Quantity:
    """The best test accuracy of each run."""

    def values(sweep: Sweep) -> dict[object, Known]:
        return {seed: Known.exactly(row["best_test_accuracy"]) for seed, row in rows(sweep, **of)}

    return values


def metric_at(step: int, name: str = "test_accuracy", **of: Any) -> Quantity:
    """A column of the metrics at the evaluation nearest to a step; −1 is the last one."""

    def value(run: Run) -> float:
        metrics = run.metrics
        at = (
            len(metrics) - 1
            if step < 0
            else int((metrics["step"] - step).abs().to_numpy().argmin())
        )
        return float(metrics[name].iloc[at])

    return of_run(value, **of)


def of_run(value: "Callable[[Run], float | Known]", **of: Any) -> Quantity:
    """Anything that a run says of itself."""

    def values(sweep: Sweep) -> dict[object, Known]:
        found = {}
        for seed, names in names_by_seed(sweep, **of).items():
            told = value(Run(sweep.path / names[0]))
            found[seed] = told if isinstance(told, Known) else Known.exactly(told)
        return found

    return values


def answer(
    analysis: str,
    value: Callable[[xr.Dataset], float],
    *,
    steps: Iterable[int] | None = None,
    options: Mapping[str, Any] | None = None,
    **of: Any,
) -> Quantity:
    """A number out of an analysis's answer; seeds for which it is none are left out."""

    def values(sweep: Sweep) -> dict[object, Known]:
        found = {}
        for seed, names in names_by_seed(sweep, **of).items():
            run = Run(sweep.path / names[0])
            number = float(value(ask(run, analysis, steps, **(options or {}))))
            if np.isfinite(number):
                found[seed] = Known.exactly(number)
        return found

    return values


def ask(run: Run, analysis: str, steps: Iterable[int] | None = None, **options: Any) -> xr.Dataset:
    """The answer of an analysis, at those of the steps that have a checkpoint."""
    there = None if steps is None else sorted({nearest(run.steps, step) for step in steps})
    return analyze(run, analysis, steps=there, **options)


def nearest(steps: Iterable[int], wanted: int) -> int:
    """The step nearest to the one that is wanted."""
    return min(steps, key=lambda step: abs(step - wanted))


def over(first: Quantity, second: Quantity) -> Quantity:
    """The ratio of two quantities, for the seeds that have both."""

    def values(sweep: Sweep) -> dict[object, Known]:
        a, b = first(sweep), second(sweep)
        return {seed: a[seed].over(b[seed]) for seed in a if seed in b}

    return values


def combined(quantity: Callable[..., Known], *parts: Quantity) -> Quantity:
    """Anything made of several quantities, for the seeds that have all of them."""

    def values(sweep: Sweep) -> dict[object, Known]:
        found = [part(sweep) for part in parts]
        return {
            seed: quantity(*(each[seed] for each in found))
            for seed in found[0]
            if all(seed in each for each in found)
        }

    return values
