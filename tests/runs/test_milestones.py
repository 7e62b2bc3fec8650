"""Generalization that goes and comes back, by curves made by hand."""

import math
import shutil
from pathlib import Path

import pandas as pd
import pytest

from mechgrok.analyses import accuracy
from mechgrok.measuring import draw
from mechgrok.runs import Run, compare
from mechgrok.runs.facts import facts, row_of
from mechgrok.runs.milestones import Collapse, Learned
from mechgrok.sweeps.groups import RunGroups
from mechgrok.sweeps.survival import time_to_event


def with_accuracy(source: Run, path: Path, *test: float) -> Run:
    """A copy of a run whose last evaluations have these test accuracies, and the others 0."""
    shutil.copytree(source.path, path)
    table = Run(path).metrics.copy()
    table["train_accuracy"] = 1.0
    table["test_accuracy"] = [0.0] * (len(table) - len(test)) + list(test)
    table.to_csv(path / "metrics.csv", index=False)
    return Run(path)


def met(*learned: bool) -> Learned:
    return Learned.of(pd.Series(learned, range(0, 10 * len(learned), 10), dtype=bool))


def test_a_curve_that_stays_above_is_sustained_from_its_first_step() -> None:
    assert met(False, True, True) == Learned(10, 10, (), 0.0)
    assert met(True, True) == Learned(0, 0, (), 0.0)
    assert met(False, True) == Learned(10, 10, (), None)


def test_a_curve_that_never_arrives_has_no_milestones() -> None:
    assert met(False, False) == met() == Learned(None, None, (), None)


def test_a_curve_that_recovers_is_sustained_from_its_last_recovery() -> None:
    learned = met(False, True, False, False, True, False, True, True)
    assert learned == Learned(10, 60, (Collapse(20, 40), Collapse(50, 60)), 0.5)


def test_a_curve_that_ends_below_has_no_sustained_step() -> None:
    assert met(True, False, True, False) == Learned(
        0, None, (Collapse(10, 20), Collapse(30, None)), 2 / 3
    )


def test_a_run_keeps_its_first_t_gen_beside_its_collapses(tiny_run: Run, tmp_path: Path) -> None:
    run = with_accuracy(tiny_run, tmp_path / "run", 1.0, 0.5, 0.96, 1.0, 0.92)
    at = run.metrics.step.tolist()[-5:]
    assert run.t_gen == at[0]
    assert run.t_gen_sustained is None
    assert run.collapses == (Collapse(at[1], at[2]), Collapse(at[4], None))
    assert run.collapsed_share == 0.5
    assert run.milestones["t_collapse"] == at[1]
    assert run.milestones_at(0.9)["t_gen_sustained"] == at[2]
    assert run.learned("test", 0.9).collapsed_share == 0.25
    assert f"{at[1]:,} to {at[2]:,}, {at[4]:,} to the end; 50.0%" in facts(run)["collapses"]
    assert "collapses" not in facts(tiny_run)
    assert run.milestones["t_collapse"] == row_of(run)["t_collapse"].item()


def test_a_loss_that_is_not_a_number_is_a_collapse(tiny_run: Run, tmp_path: Path) -> None:
    run = with_accuracy(tiny_run, tmp_path / "run", 1.0, math.nan)
    assert run.t_gen_sustained is None
    assert run.collapsed_share == 1


@pytest.fixture
def groups(tiny_run: Run, tmp_path: Path) -> RunGroups:
    """Runs that stay, recover, end below, and never generalize."""
    curves = {"stays": (1, 1, 1), "recovers": (1, 0, 1), "falls": (1, 1, 0), "never": (0, 0, 0)}
    runs = {name: with_accuracy(tiny_run, tmp_path / name, *c) for name, c in curves.items()}
    return RunGroups.of_runs(runs, grouped=True)


def test_runs_that_end_below_are_censored_for_the_sustained_step(groups: RunGroups) -> None:
    at = tuple(next(iter(groups.runs.values())).metrics.step.tolist()[-3:])
    sustained = time_to_event(groups.table, "t_gen_sustained")
    assert (sustained.n, sustained.n_reached, sustained.horizon) == (4, 2, at[2])
    assert (sustained.median, sustained.low) == (at[2], at[0])
    assert time_to_event(groups.table, "t_gen").n_reached == 3
    summary = groups.summary.iloc[0]
    assert (summary.t_gen, summary.t_gen_sustained) == (at[0], at[2])


def test_a_comparison_has_columns_of_collapses(groups: RunGroups) -> None:
    table = compare(groups.runs)
    assert table.t_gen_sustained.isna().tolist() == [False, False, True, True]
    assert table.t_collapse.notna().tolist() == [False, True, True, False]
    assert table.collapsed_share.tolist()[:3] == [0, 0.5, 0.5]
    assert math.isnan(table.collapsed_share["never"])


def test_figures_mark_the_first_collapse_only_if_there_is_one(groups: RunGroups) -> None:
    def marks(name: str) -> set[str]:
        run = groups.runs[name]
        return {note.text for note in draw(run, "accuracy").layout.annotations}

    assert "t_collapse" in marks("falls")
    assert "t_collapse" not in marks("stays")
    step = groups.runs["falls"].collapses[0].step
    assert f"collapses at {step:,}" in accuracy.finding(accuracy.measure(groups.runs["falls"]))
