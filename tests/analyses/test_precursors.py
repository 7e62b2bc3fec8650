"""A comparison of measures as precursors: which runs, at which steps, and what is said of them."""

import math
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mechgrok
from mechgrok.analyses.precursors import Outcomes
from mechgrok.analyses.precursors.comparison import compare_measures
from mechgrok.analyses.precursors.curves import Curve, Measure, Measured
from mechgrok.analyses.precursors.experiments import _MEASURES, experiments
from mechgrok.analyses.precursors.outcomes import find_outcomes
from mechgrok.errors import UserError
from mechgrok.metrics import USUAL
from mechgrok.results.analysis import Analysis, analyses
from mechgrok.sweeps import Plan, Sweep, sweep
from tests.sweeps.conftest import here

RUNS = [f"run {i}" for i in range(12)]


def outcomes_of(t_gen: list[float]) -> Outcomes:
    """Twelve runs, of which the first generalize at these steps."""
    steps = np.array(t_gen + [math.nan] * (12 - len(t_gen)))
    zero = np.zeros(12, dtype=int)
    return Outcomes(1000, RUNS, ~np.isnan(steps), steps, zero, {}, [])


def measured_of(**levels: list[float]) -> Measured:
    """Curves that rest at the level of each run, by measure; the norm is ``l2``."""
    steps = np.arange(0, 1001, 10)
    curves = {
        f"metrics.{name}": {
            run: Curve(steps, np.full(len(steps), level))
            for run, level in zip(RUNS, values, strict=True)
        }
        for name, values in levels.items()
    }
    measures = {n: Measure(n, "", hindsight=n.endswith("later")) for n in curves}
    return Measured(measures, curves, {}, {}, {})


def row(table: pd.DataFrame, name: str, share: float = 0.1) -> pd.Series:
    return table[(table.measure == f"metrics.{name}") & (table.share == share)].iloc[0]


def test_the_measure_that_separates_the_outcomes_comes_first() -> None:
    random = np.random.default_rng(0)
    level = [9.0, 8, 7, 6, 5, 4, 1, 1, 2, 2, 3, 3]
    measured = measured_of(
        l2=list(random.normal(size=12)), noise=list(random.normal(size=12)), signal=level
    )
    table, chance = compare_measures(measured, outcomes_of([400, 500, 600, 700, 800, 900]))
    assert table.measure[0] == "metrics.signal"
    signal = row(table, "signal")
    assert (signal.auroc, signal.n_generalize, signal.n_not) == (1, 6, 6)
    assert signal.rho == pytest.approx(-1)
    assert signal.p < 0.01
    assert signal.p <= signal.p_family
    assert chance.expected == pytest.approx(0.15, abs=0.05)


def test_a_run_that_has_generalized_is_not_told_in_advance() -> None:
    levels = [float(i) for i in range(12)]
    table, _ = compare_measures(measured_of(l2=levels), outcomes_of([20, 90, 200, 900]))
    counts = [row(table, "l2", share).n_generalize for share in (0.01, 0.03, 0.1, 0.3)]
    assert counts == [4, 3, 2, 1]
    assert row(table, "l2", 0.3).n_not == 8


def test_a_measure_in_the_order_of_the_norm_tells_nothing_given_the_norm() -> None:
    norm = [float(i) for i in range(12)]
    measured = measured_of(l2=norm, disguise=[math.exp(value) for value in norm])
    table, _ = compare_measures(measured, outcomes_of([900, 800, 700, 600, 500]))
    assert row(table, "disguise").auroc == 0
    assert math.isnan(row(table, "disguise").outcome_given_l2)
    assert math.isnan(row(table, "disguise").rho_given_l2)


def test_a_measure_with_hindsight_comes_last_and_is_not_tested() -> None:
    measured = measured_of(
        l2=list(np.random.default_rng(0).normal(size=12)), later=[1.0] * 6 + [0.0] * 6
    )
    table, _ = compare_measures(measured, outcomes_of([500] * 6))
    assert table.measure.iloc[-1] == "metrics.later"
    assert math.isnan(row(table, "later").p)
    assert row(table, "later").auroc == 1


def test_the_lead_is_the_time_from_the_onset_to_generalization() -> None:
    measured = measured_of(l2=[0.0] * 12)
    for run in RUNS[:6]:
        curve = measured.curves["metrics.l2"][run]
        curve.values[curve.steps >= 100] = 1
    table, _ = compare_measures(measured, outcomes_of([1000, 1000, 1000, 1000, 1000, 90]))
    l2 = row(table, "l2")
    assert (l2.lead, l2.log10_lead, l2.n_leads) == (900, 1, 6)
    assert l2.onset_before_t_gen == pytest.approx(5 / 6)
    assert l2.onset_without == 0


def test_a_curve_is_read_at_the_last_checkpoint_and_never_at_a_later_one() -> None:
    curve = Curve(np.array([10, 20]), np.array([1.0, 2.0]))
    assert [curve.at(step) for step in (10, 19.9, 20, 500)] == [1, 1, 2, 2]
    assert math.isnan(curve.at(9))


@pytest.mark.parametrize("name", analyses())
def test_what_uses_test_labels_or_later_steps_is_declared(name: str) -> None:
    analysis = Analysis.load(name)
    assert analysis.uses_test_labels <= set(analysis.scalars)
    assert analysis.uses_later_steps <= set(analysis.scalars)
    assert not (analysis.per_step and analysis.uses_later_steps)
    for scalar in analysis.scalars.values():
        dims = analysis.variables[scalar.variable].dims.split(", ")
        assert "step" in dims
        assert {*scalar.at} <= {*dims}
    for curve, scalar in analysis.scalars.items():
        definition = analysis.variables[scalar.variable].definition
        scored = re.search("right|correct|accuracy|loss|cross-entropy|label", definition)
        if scored and "train" not in curve + definition:
            assert curve in analysis.uses_test_labels


def test_an_experiment_is_about_a_measure_and_of_the_study() -> None:
    measures = {f"{name}.{s}" for name in analyses() for s in Analysis.load(name).scalars}
    measures |= {f"metrics.{column}" for column in USUAL}
    found = experiments()
    assert set(found) <= measures
    assert len(found) == sum(map(len, _MEASURES.values()))  # every claim is among the shipped ones
    for ratio, effect in found.values():
        assert "t_gen" in ratio
        assert "seeds" in effect


def test_the_shipped_plan_has_both_tasks_and_few_checkpoints() -> None:
    members = Plan.load(Plan.shipped()["precursors"]).members()
    assert len(members) >= 24
    configs = [member.config for member in members if member.config is not None]
    assert {config.task.name for config in configs} == {"add", "group"}
    assert {config.model.kind for config in configs} == {"mlp", "positional-mlp"}
    assert all((config.training.keep or 61) <= 60 for config in configs)
    assert {config.training.steps for config in configs} == {5000}


# --- on real runs --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """Six runs, of which those on many pairs reach 60 % and those on few do not."""
    out = tmp_path_factory.mktemp("precursors") / "sweep"
    options = {"p": 11, "d_model": 16, "d_mlp": 16, "steps": 200, "keep": 12}
    over = {"train_fraction": "0.3,0.9"}
    sweep(out, "quick", over=over, seeds="0:3", where=here, learning_rate=0.01, **options)
    return Sweep(out, at_accuracy=0.6)


def test_outcomes_are_those_within_the_horizon(made: Sweep) -> None:
    outcomes = find_outcomes(made)
    assert (outcomes.horizon, outcomes.generalizes.sum(), len(outcomes.names)) == (200, 3, 6)
    early = int(np.nanmin(outcomes.t_gen)) - 1
    with pytest.raises(UserError, match="horizon"):
        find_outcomes(made, early)
    with pytest.raises(UserError, match="horizon"):
        find_outcomes(made.at(0.0001))
    with pytest.raises(UserError, match="all generalize"):
        find_outcomes(made, 300)  # The others were not trained that far.


def test_runs_are_compared_within_the_settings_asked_for(made: Sweep) -> None:
    assert len({*find_outcomes(made).strata}) == 1
    assert len({*find_outcomes(made, within="seed").strata}) == 3
    with pytest.raises(UserError, match="varies no"):
        find_outcomes(made, within="p")


def test_a_page_and_tables_are_written_and_the_next_call_measures_nothing(made: Sweep) -> None:
    measured: list[str] = []

    def note(done: int, total: int, text: str) -> None:
        measured.append(text)

    result = mechgrok.precursors(made, only=["norms", "progress"], workers=1, progress=note)
    assert len(measured) == 12
    assert not result.failures
    table = pd.read_parquet(result.path.with_suffix(".parquet"))
    pd.testing.assert_frame_equal(table, result.table)
    assert len(pd.read_csv(result.path.with_suffix(".csv"))) == len(table)
    norm = table[table.measure == "norms.total_l2"].iloc[0]
    assert not norm.uses_test_labels
    assert norm.seconds > 0
    assert norm.ratio == "t_gen with the norm held at 44 over t_gen at 34"
    assert norm.effect.endswith("9 seeds")
    assert table[table.measure == "progress.explained"].hindsight.all()
    assert table[table.measure == "metrics.test_loss"].uses_test_labels.all()
    assert table.baseline.sum() == 3 * 4
    page = result.path.read_text(encoding="utf-8")
    assert page.count("<svg ") == table.measure.nunique()
    again = mechgrok.precursors(made, only=["norms", "progress"], workers=1, progress=note)
    assert len(measured) == 12
    pd.testing.assert_frame_equal(again.table, result.table)


def test_a_run_that_cannot_be_measured_is_reported(made: Sweep, tmp_path: Path) -> None:
    copy = shutil.copytree(made.path, tmp_path / "copy")
    broken = Sweep(copy, at_accuracy=0.6)
    name, run = next(iter(broken.runs.items()))
    run.file(run.steps[3]).write_bytes(b"no weights")
    result = mechgrok.precursors(broken, only=["norms"], workers=1)
    assert len(result.failures) == 1
    assert f"norms failed on {name}" in result.failures[0]
    assert result.failures[0] in result.path.read_text(encoding="utf-8").replace("&#39;", "'")
    assert {*result.table[result.table.measure == "norms.total_l2"].n_not} == {2}
