"""What a comparison says of each run is what the run says of itself."""

from pathlib import Path

import pandas as pd
import pytest

from mechgrok.analyses.drawing.overlay import overlay
from mechgrok.errors import UserError
from mechgrok.runs import Run
from mechgrok.runs.comparison import compare
from mechgrok.sweeps.groups import RunGroups
from mechgrok.training import create_run


def test_every_run_has_its_own_row(tiny_run: Run, masked_run: Run) -> None:
    table = compare({"base": tiny_run, "half": masked_run})
    assert list(table.index) == ["base", "half"]
    assert table.density["base"] == 1
    assert masked_run.mask is not None
    assert table.density["half"] == masked_run.mask.density
    for label, run in (("base", tiny_run), ("half", masked_run)):
        row, metrics = table.loc[label], run.metrics
        assert (row.l1_start, row.l2_start) == (metrics.l1.iloc[0], metrics.l2.iloc[0])
        assert (row.l1_end, row.l2_end) == (metrics.l1.iloc[-1], metrics.l2.iloc[-1])
        assert row.test_accuracy == metrics.test_accuracy.iloc[-1]
        assert row.best_test_accuracy == metrics.test_accuracy.max()


def test_what_was_not_reached_is_missing(tiny_run: Run) -> None:
    run = Run(tiny_run.path)
    run.metrics["test_accuracy"] = 0.0
    run.metrics["train_accuracy"] = [*[0.0] * (len(run.metrics) - 1), 1.0]
    row = compare({"base": run}).loc["base"]
    assert row.t_mem == run.metrics.step.iloc[-1]
    assert pd.isna(row.t_gen)
    assert pd.isna(row.tau_grok)


def test_a_run_that_was_never_evaluated_cannot_be_compared(tiny_run: Run, tmp_path: Path) -> None:
    fresh = create_run(tmp_path / "fresh", tiny_run.config)
    with pytest.raises(UserError, match="metrics"):
        compare({"fresh": fresh})


def test_the_figure_overlays_accuracy_l1_and_l2_of_every_run(
    tiny_run: Run, masked_run: Run
) -> None:
    figure = overlay(RunGroups.of_runs({"base": tiny_run, "half": masked_run}), log=False)
    curves = [trace for trace in figure.data if trace.hovertemplate]
    assert len(curves) == 8
    by_panel = {(trace.name, trace.yaxis): trace for trace in curves}
    test_curve = by_panel["half, test", "y"]
    assert list(test_curve.x) == list(masked_run.metrics.step)
    assert list(test_curve.y) == pytest.approx(list(masked_run.metrics.test_accuracy))
    assert list(by_panel["base", "y3"].y) == pytest.approx(list(tiny_run.metrics.l2))
