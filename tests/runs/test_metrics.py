"""Rows of the metrics that are dropped, to be made again."""

from pathlib import Path

import pytest

from mechgrok.runs.metrics import NAME, drop_metrics_from, read_metrics, write_metrics

ROW = {"train_loss": 0.5, "test_loss": 1.5, "train_accuracy": 1.0, "test_accuracy": 0.25}


def rows(*steps: int) -> list[dict[str, float]]:
    return [{"step": step, **ROW, "l1": 3.0, "l2": 0.1 * step} for step in steps]


@pytest.mark.parametrize("between", ["", "\n", "\n\n", "\r\n"])
def test_later_rows_go_whatever_an_editor_has_left_between(tmp_path: Path, between: str) -> None:
    write_metrics(tmp_path, rows(0, 10, 20))
    expected = read_metrics(tmp_path).query("step < 20")
    lines = (tmp_path / NAME).read_text().splitlines(keepends=True)
    (tmp_path / NAME).write_text(between.join(lines) + "30,0.5,0.")
    drop_metrics_from(tmp_path, 20)
    assert read_metrics(tmp_path).equals(expected)
    assert (tmp_path / NAME).read_text().endswith("\n")


def test_nothing_to_drop_changes_no_byte(tmp_path: Path) -> None:
    write_metrics(tmp_path, rows(0, 10))
    before = (tmp_path / NAME).stat()
    drop_metrics_from(tmp_path, 20)
    assert (tmp_path / NAME).stat().st_mtime_ns == before.st_mtime_ns
