"""The curves are the run's, and the marks stand where the criterion is first met."""

import shutil
from pathlib import Path

import numpy as np
import xarray as xr

from mechgrok.analyses import accuracy
from mechgrok.runs import Run


def grokked(tiny_run: Run, tmp_path: Path) -> Run:
    """A run whose curves have been drawn by hand: memorized at step 15, generalized at 50."""
    path = Path(shutil.copytree(tiny_run.path, tmp_path / "drawn"))
    table = Run(path).metrics.copy()
    table["train_accuracy"] = np.where(table.step >= 15, 1.0, 0.1)
    table["test_accuracy"] = np.where(table.step >= 50, 0.97, 0.0)
    table.to_csv(path / "metrics.csv", index=False)
    return Run(path)


def test_curves_are_the_metrics(tiny_run: Run) -> None:
    measured = accuracy.measure(tiny_run)
    assert measured.step.to_numpy().tolist() == tiny_run.metrics.step.tolist()
    np.testing.assert_array_equal(measured.test_loss, tiny_run.metrics.test_loss)


def test_delay_is_put_in_words(tiny_run: Run, tmp_path: Path) -> None:
    measured = accuracy.measure(grokked(tiny_run, tmp_path))
    assert accuracy.finding(measured) == "t_mem 15, t_gen 50 at accuracy 0.95: τ_grok 3.3"


def test_no_generalization_is_said(tiny_run: Run) -> None:
    assert tiny_run.t_gen is None
    assert "not generalized by step 60" in accuracy.finding(accuracy.measure(tiny_run))


def test_figure_marks_both_steps_of_each_run(tiny_run: Run, tmp_path: Path) -> None:
    run = grokked(tiny_run, tmp_path)
    figure = accuracy.draw({"a": accuracy.measure(run), "b": accuracy.measure(tiny_run)}, log=False)
    dashed = {shape.x0: shape.line.dash for shape in figure.layout.shapes}
    assert dashed[50] == "dash"
    assert set(dashed) == {15, 50} | ({tiny_run.t_mem} - {None})
    assert sum(trace.hovertemplate is not None for trace in figure.data) == 8
    names = [note.text for note in figure.layout.annotations]
    assert {"t_mem", "t_gen"} <= set(names)


def test_the_title_says_by_how_much_test_accuracy_is_late(tiny_run: Run, tmp_path: Path) -> None:
    late, never = accuracy.measure(grokked(tiny_run, tmp_path)), accuracy.measure(tiny_run)
    at_once = late.assign_attrs(tau_grok=1.0)

    def title(**measured: xr.Dataset) -> str:
        return str(accuracy.draw(measured).layout.title.text)

    assert title(a=late, b=never).endswith("after 3.33 times as many steps")
    assert title(a=late, b=at_once).replace("<br>", " ").endswith("1 to 3.33 times as many steps")
    assert title(a=never) == title(a=at_once) == "Accuracy and loss over training"


def test_many_runs_are_told_in_one_line(tiny_run: Run) -> None:
    measured = {f"seed {seed}": accuracy.measure(tiny_run) for seed in range(8)}
    for at, dataset in enumerate(measured.values()):
        dataset.attrs = {**dataset.attrs, "t_gen": 10 * at} if at % 2 else {"criterion": "accuracy"}
    subtitle = accuracy.draw(measured).layout.title.subtitle.text
    assert subtitle == "4 of 8 runs generalize, from step 10 to 70"
