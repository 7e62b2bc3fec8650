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
from mechgrok.results.store import Key
from mechgrok.runs import Run
from mechgrok.runs.checkpoint import write_checkpoint
from mechgrok.runs.parquet import read_with_origin, write_parquet


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


def test_an_answer_for_some_steps_is_taken_from_the_full_answer(run: Run) -> None:
    norm = Norm()
    analysis = norm.analysis(per_step=True)
    whole = analysis(run)
    some = run.steps[1:3]
    assert analysis(run, steps=some).identical(whole.sel(step=some))
    assert analysis(run, steps=run.steps).identical(whole)
    assert norm.measured == [run.steps]


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("per_step", [False, True])
def test_an_answer_for_some_steps_takes_no_other_answer_s_place(
    run: Run, per_step: bool, fresh: bool
) -> None:
    norm = Norm()
    analysis = norm.analysis(per_step=per_step)
    whole = analysis(run)
    full = analysis.cache_path(run)
    saved = full.read_bytes()
    later = replace(analysis, version=2)  # It cannot load the full answer.
    first = later(run, steps=run.steps[:1], fresh=fresh)
    last = later(run, steps=run.steps[-1:], fresh=fresh)
    assert full.read_bytes() == saved
    assert first.step == run.steps[0]
    assert last.step == run.steps[-1]
    assert later(run, steps=run.steps[:1]).identical(first)
    assert norm.measured == [run.steps, run.steps[:1], run.steps[-1:]]
    assert analysis(run).identical(whole)


def test_an_answer_says_which_file_holds_it(run: Run) -> None:
    analysis = Norm().analysis(per_step=True)
    alone = analysis(run, steps="last")
    assert Path(alone.encoding["source"]) == analysis.cache_path(run, steps="last")
    analysis(run)
    part = analysis(run, steps="last")
    assert Path(part.encoding["source"]) == analysis.cache_path(run)


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


def test_another_version_makes_an_answer_stale(run: Run) -> None:
    norm = Norm()
    analysis = norm.analysis(per_step=True)
    analysis(run)
    replace(analysis, version=2)(run)
    assert norm.measured == [run.steps, run.steps]


VERSIONED = """
import xarray as xr
{version}

def measure(run, *, steps=None):
    return xr.Dataset({{"answer": {answer}}})

def draw(measured): ...
def finding(dataset): return ""
"""


@pytest.mark.parametrize(("version", "second"), [("", 22), ("VERSION = 3", 1)])
def test_an_edited_file_is_measured_anew_unless_it_declares_a_version(
    run: Run, tmp_path: Path, version: str, second: int
) -> None:
    file = tmp_path / "question.py"
    file.write_text(VERSIONED.format(version=version, answer=1))
    assert mechgrok.analyze(run, str(file)).answer == 1
    file.write_text(VERSIONED.format(version=version, answer=22))
    assert mechgrok.analyze(run, str(file)).answer == second
    file.write_text(VERSIONED.format(version="VERSION = 4", answer=22))
    assert mechgrok.analyze(run, str(file)).answer == 22


def test_an_answer_of_an_earlier_revision_is_measured_anew(run: Run) -> None:
    """It said what it was made from in other words, with a digest of the source code."""
    norm = Norm()
    analysis = norm.analysis(per_step=True)
    whole = analysis(run)
    path = analysis.cache_path(run)
    before = read_with_origin(path)[1]
    earlier = {"options": before["options"], "files": {}, "code": "ab", "setting": "cd"}
    earlier |= {"metrics": before["metrics"], "checkpoints": before["checkpoints"]}
    write_parquet(whole + 1, path, earlier)
    assert analysis(run).identical(whole)
    assert norm.measured == [run.steps, run.steps]


def test_an_option_that_names_a_file_hangs_on_what_is_in_it(run: Run, tmp_path: Path) -> None:
    reference = tmp_path / "mask.safetensors"
    reference.write_bytes(b"one")
    before = Key.of_run(run, 1, {"reference": reference})
    assert Key.of_run(run, 1, {"reference": reference}) == before
    reference.write_bytes(b"three")
    assert Key.of_run(run, 1, {"reference": reference}) != before


def test_a_damaged_answer_is_measured_again(run: Run) -> None:
    norm = Norm()
    analysis = norm.analysis(per_step=True)
    whole = analysis(run)
    analysis.cache_path(run).write_bytes(b"PAR1")
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
    with pytest.raises(UserError, match=r"'entropie'.*choose"):
        mechgrok.analyze(run, "entropie")
    with pytest.raises(UserError, match=r"accuracy .*'colour'"):
        mechgrok.analyze(run, "accuracy", colour="red")
    with pytest.raises(UserError, match=r"step 7.*nearest"):
        mechgrok.analyze(run, "fourier", steps=[7])


def test_the_old_name_of_cache_path_still_works(run: Run) -> None:
    analysis = Norm().analysis(per_step=True)
    with pytest.warns(DeprecationWarning, match="cache_path"):
        assert analysis.kept_at(run) == analysis.cache_path(run)
