"""What was measured once is not measured again, and what has changed is."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import mechgrok
from mechgrok import UserError
from mechgrok.results.analysis import Analysis
from mechgrok.results.provenance import Provenance, source_digest
from mechgrok.runs import Run
from mechgrok.runs.checkpoint import write_checkpoint


@pytest.fixture
def run(tiny_run: Run, tmp_path: Path) -> Run:
    """A copy of the tiny run that a test may change."""
    shutil.copytree(tiny_run.path, tmp_path / "run")
    return Run(tmp_path / "run")


class Norm:
    """An analysis of each checkpoint by itself that remembers what it was asked for."""

    def __init__(self) -> None:
        self.measured: list[list[int]] = []

    def analysis(self, *, per_step: bool) -> Analysis:
        def measure(run: Run, *, steps: Sequence[int] | None = None, power: int = 2) -> xr.Dataset:
            steps = run.select(steps)
            self.measured.append(list(steps))
            weights = run.weights("W_in", steps).abs() ** power
            return xr.Dataset(
                {"norm": ("step", weights.sum((1, 2)).numpy())},
                coords={"step": steps},
                attrs={"evaluations": len(run.metrics)},
            )

        def nothing(*_: Any) -> Any:
            raise AssertionError("nothing is drawn here")

        load = Analysis(
            "norm", "", "mechgrok.analyses.accuracy", measure, nothing, nothing, lambda run: None
        )
        return replace(load, per_step=per_step)


def grow(run: Run) -> Run:
    """The run with one more checkpoint and one more row of metrics."""
    last = run.checkpoint(-1)
    write_checkpoint(run.path, replace(last, step=last.step + 20))
    metrics = run.path / "metrics.csv"
    rows = metrics.read_text().splitlines()
    rows.append(",".join([str(last.step + 20), *rows[-1].split(",")[1:]]))
    metrics.write_text("\n".join(rows) + "\n")
    return Run(run.path)


@pytest.mark.parametrize("per_step", [False, True])
def test_the_second_answer_is_the_first_one_kept(run: Run, per_step: bool) -> None:
    norm = Norm()
    analysis = norm.analysis(per_step=per_step)
    first, second = analysis(run), analysis(Run(run.path))
    assert first.identical(second)
    assert norm.measured == [run.steps]


@pytest.mark.parametrize("per_step", [False, True])
def test_fresh_measures_anew(run: Run, per_step: bool) -> None:
    norm = Norm()
    analysis = norm.analysis(per_step=per_step)
    assert analysis(run).identical(analysis(run, fresh=True))
    assert norm.measured == [run.steps, run.steps]


def test_each_choice_of_options_is_kept_apart(run: Run) -> None:
    norm = Norm()
    analysis = norm.analysis(per_step=False)
    squares, sums = analysis(run), analysis(run, power=1)
    assert not squares.equals(sums)
    assert analysis(run).equals(squares)
    assert analysis(run, power=2).equals(squares)
    assert analysis(run, power=1).equals(sums)
    assert len(norm.measured) == 2


def test_a_run_that_has_grown_is_measured_where_it_is_new(run: Run) -> None:
    norm = Norm()
    analysis = norm.analysis(per_step=True)
    analysis(run)
    grown = grow(run)
    answer = analysis(grown)
    assert norm.measured == [run.steps, grown.steps[-1:]]
    assert answer.step.to_numpy().tolist() == grown.steps
    assert answer.attrs["evaluations"] == len(grown.metrics)
    assert answer.identical(analysis(grown, fresh=True))


def test_a_run_that_has_grown_is_measured_whole_where_steps_hang_together(run: Run) -> None:
    norm = Norm()
    analysis = norm.analysis(per_step=False)
    analysis(run)
    grown = grow(run)
    analysis(grown)
    assert norm.measured == [run.steps, grown.steps]


def test_some_steps_are_a_part_of_all_steps(run: Run) -> None:
    norm = Norm()
    analysis = norm.analysis(per_step=True)
    last = analysis(run, steps=[run.steps[-1]])
    whole = analysis(run)
    assert norm.measured == [run.steps[-1:], run.steps[:-1]]
    assert whole.sel(step=[run.steps[-1]]).identical(last)
    assert analysis(run, steps=run.steps[1:3]).step.to_numpy().tolist() == run.steps[1:3]
    assert len(norm.measured) == 2


def test_a_checkpoint_that_was_written_again_is_measured_again(run: Run) -> None:
    norm = Norm()
    analysis = norm.analysis(per_step=True)
    analysis(run)
    first = run.checkpoint(0)
    doubled = {name: 2 * weight for name, weight in first.weights.items()}
    write_checkpoint(run.path, replace(first, weights=doubled))
    answer = analysis(run)
    assert norm.measured == [run.steps, [0]]
    assert answer.identical(analysis(run, fresh=True))


@pytest.mark.parametrize("per_step", [False, True])
def test_other_metrics_make_an_answer_stale(run: Run, per_step: bool) -> None:
    norm = Norm()
    analysis = norm.analysis(per_step=per_step)
    analysis(run)
    metrics = run.path / "metrics.csv"
    header, first, *rest = metrics.read_text().splitlines()
    metrics.write_text("\n".join([header, first.replace("0,", "0,9", 1), *rest]) + "\n")
    analysis(Run(run.path))
    assert norm.measured == [run.steps, run.steps]


def test_other_code_makes_an_answer_stale(run: Run) -> None:
    norm = Norm()
    analysis = norm.analysis(per_step=True)
    analysis(run)
    replace(analysis, module="mechgrok.analyses.fourier")(run)
    assert norm.measured == [run.steps, run.steps]


def test_the_digest_of_an_analysis_covers_what_it_imports(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "other_package.py").write_text("from other_part import answer\n")
    package = tmp_path / "studies"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "loss.py").write_text("def measure():\n    from studies.parts import part\n")
    parts = package / "parts.py"
    parts.write_text("part = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = source_digest("studies.loss")
    assert source_digest("studies.loss") == before
    parts.write_text("part = 2\n")
    assert source_digest("studies.loss") != before


def test_an_option_that_names_a_file_hangs_on_what_is_in_it(run: Run, tmp_path: Path) -> None:
    reference = tmp_path / "mask.safetensors"
    reference.write_bytes(b"one")
    before = Provenance.now(run, "mechgrok.analyses.accuracy", {"reference": reference})
    assert Provenance.now(run, "mechgrok.analyses.accuracy", {"reference": reference}) == before
    reference.write_bytes(b"three")
    assert Provenance.now(run, "mechgrok.analyses.accuracy", {"reference": reference}) != before


def test_a_damaged_answer_is_measured_again(run: Run) -> None:
    norm = Norm()
    analysis = norm.analysis(per_step=True)
    whole = analysis(run)
    analysis.kept_at(run).write_bytes(b"PAR1")
    assert analysis(run).identical(whole)
    assert len(norm.measured) == 2


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_is_measured_and_keeps_nothing(run: Run) -> None:
    norm = Norm()
    run.path.chmod(0o555)
    try:
        norm.analysis(per_step=True)(run)
    finally:
        run.path.chmod(0o755)
    assert not (run.path / "analysis").exists()


def test_analyze_answers_by_name(run: Run) -> None:
    dataset = mechgrok.analyze(run.path, "accuracy")
    assert np.array_equal(dataset.step, run.metrics.step)
    assert (run.path / "analysis" / "accuracy.parquet").is_file()


def test_an_unknown_analysis_or_option_is_named(run: Run) -> None:
    with pytest.raises(UserError, match=r"no analysis 'entropie'.*: choose"):
        mechgrok.analyze(run, "entropie")
    with pytest.raises(UserError, match="accuracy has no option 'colour': it has none"):
        mechgrok.analyze(run, "accuracy", colour="red")
    with pytest.raises(UserError, match="no checkpoint at step 7; the nearest is at"):
        mechgrok.analyze(run, "fourier", steps=[7])
