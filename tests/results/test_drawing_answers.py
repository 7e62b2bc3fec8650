"""Figures from answers and from runs, in Python."""

import shutil
from pathlib import Path

import pytest

import mechgrok
from mechgrok import UserError
from mechgrok.runs import Run
from mechgrok.runs.parquet import read_parquet

OWN = '''"""What is this one's size"""
import plotly.graph_objects as go
import xarray as xr
def measure(run, *, steps=None):
    return xr.Dataset({"n": float(run.n_parameters)})
def draw(datasets):
    return go.Figure(go.Bar(y=[float(each.n) for each in datasets.values()]))
def finding(dataset):
    return "counted"
'''


def test_an_answer_knows_its_question_and_its_run(tiny_run: Run) -> None:
    answer = mechgrok.analyze(tiny_run, "norms")
    assert mechgrok.draw(answer) == mechgrok.draw(tiny_run, "norms")
    assert answer.attrs["run"] == tiny_run.name


def test_several_answers_share_a_figure(tiny_run: Run, masked_run: Run) -> None:
    answers = {"first": mechgrok.analyze(tiny_run, "norms")}
    answers["second"] = mechgrok.analyze(masked_run, "norms")
    drawn = mechgrok.draw(answers, log=False)
    assert {"first", "second"} <= {trace.name for trace in drawn.data}
    together = mechgrok.draw([tiny_run.path, masked_run], "norms", log=False)
    assert len(together.data) == len(drawn.data)


def test_an_analysis_of_ones_own_is_drawn_by_the_file_that_was_named(
    tiny_run: Run, tmp_path: Path
) -> None:
    (tmp_path / "counting.py").write_text(OWN)
    answer = mechgrok.analyze(tiny_run, f"{tmp_path}/counting.py")
    assert list(mechgrok.draw(answer).data[0].y) == [tiny_run.n_parameters]


def test_a_name_in_an_answers_attributes_imports_nothing(tiny_run: Run, tmp_path: Path) -> None:
    shutil.copytree(tiny_run.path, tmp_path / "run")
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'was-run')!r}, 'w')\n{OWN}")
    answer = mechgrok.analyze(tiny_run, "norms").assign_attrs(analysis=f"{tmp_path}/evil.py:")
    with pytest.raises(UserError):
        mechgrok.draw(answer)
    assert not (tmp_path / "was-run").exists()


def test_what_cannot_be_drawn_is_told(tiny_run: Run, tmp_path: Path) -> None:
    answer = mechgrok.analyze(tiny_run, "norms")
    other = mechgrok.analyze(tiny_run, "accuracy")
    wrong = {
        r"draw\(runs, 'fourier'\)": lambda: mechgrok.draw(tiny_run),
        "norms|accuracy|analys": lambda: mechgrok.draw({"a": answer, "b": other}),
        "run": lambda: mechgrok.draw([], "norms"),
        "'sides'": lambda: mechgrok.draw(tiny_run, "norms", sides=3),
        "steps": lambda: mechgrok.draw(answer, steps=[0]),
    }
    for words, call in wrong.items():
        with pytest.raises(UserError, match=words):
            call()


def test_runs_come_first(tiny_run: Run) -> None:
    with pytest.raises(UserError, match=r"draw\(runs, 'fourier'\)"):
        mechgrok.draw("norms", tiny_run)  # type: ignore[arg-type]


def test_what_was_read_from_a_file_is_drawn(tiny_run: Run) -> None:
    answer = mechgrok.analyze(tiny_run, "norms")
    kept = read_parquet(tiny_run.path / "analysis" / "norms.parquet")
    assert mechgrok.draw(kept) == mechgrok.draw(answer)
    unknown = kept.drop_attrs(deep=False).assign_attrs(t_mem=None)
    assert (
        mechgrok.draw({"tiny": unknown}, "norms").layout.title == mechgrok.draw(kept).layout.title
    )
