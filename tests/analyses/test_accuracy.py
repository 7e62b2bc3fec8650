"""The curves are the run's, and the marks stand where the criterion is first met."""

import shutil
from pathlib import Path

import numpy as np

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
    assert "t_mem 15, t_gen 50, τ_grok 3.3 at accuracy 0.95" in accuracy.finding(measured)


def test_no_generalization_is_said(tiny_run: Run) -> None:
    assert tiny_run.t_gen is None
    assert "no t_gen" in accuracy.finding(accuracy.measure(tiny_run))


def test_figure_marks_both_steps_of_each_run(tiny_run: Run, tmp_path: Path) -> None:
    run = grokked(tiny_run, tmp_path)
    figure = accuracy.draw({"a": accuracy.measure(run), "b": accuracy.measure(tiny_run)}, log=False)
    dashed = {shape.x0: shape.line.dash for shape in figure.layout.shapes}
    assert dashed[50] == "dash"
    assert set(dashed) == {15, 50} | ({tiny_run.t_mem} - {None})
    assert sum(trace.hovertemplate is not None for trace in figure.data) == 8
    names = [note.text for note in figure.layout.annotations]
    assert {"t_mem", "t_gen"} <= set(names)
