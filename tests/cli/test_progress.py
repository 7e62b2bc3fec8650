"""What is said while something takes long."""

import io
import time

import pytest

from mechgrok import progress
from mechgrok.cli.progress import status
from mechgrok.progress import Progress, TrainingProgress
from mechgrok.tasks.base import Criterion


def test_a_run_that_has_generalized_long_before_its_end_is_said_to_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = TrainingProgress(30_000, generalized=Criterion("accuracy", 0.95).is_met)
    for step, accuracy in ((0, 0.1), (300, 0.97), (600, 0.99)):
        shown({"step": step, "train_accuracy": 1.0, "test_accuracy": accuracy})
    told = [line for line in capsys.readouterr().err.splitlines() if "generalized" in line]
    assert len(told) == 1
    assert "at step 300 of 30,000; --until-grokked would stop" in told[0]


def test_a_long_measurement_is_not_silent(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SOON", 0.02)
    with status("measuring graph on base"):
        time.sleep(0.3)
    assert capsys.readouterr().err == "measuring graph on base …\n"
    monkeypatch.setattr(progress, "LATER", 0.05)
    with status("measuring graph on base"):
        time.sleep(0.3)
    said = capsys.readouterr().err.splitlines()
    assert 2 <= len(said) <= 7
    assert said[-1] == "measuring graph on base … 1 s"
    monkeypatch.undo()
    with status("measuring norms on base"):
        pass
    assert not capsys.readouterr().err


def test_without_a_terminal_there_is_a_line_for_every_tenth(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_GAP", 0)
    with Progress() as shown:
        for done in range(1, 1001):
            shown.update(done / 1000, f"{done}/1000 runs")
    said = capsys.readouterr()
    assert not said.out
    lines = said.err.splitlines()
    assert [line.partition("/")[0] for line in lines[:2]] == ["1", "101"]
    assert lines[-1] == "1000/1000 runs"
    assert len(lines) <= 12


def test_lines_of_fast_work_are_few(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress() as shown:
        for done in range(101):
            shown.update(done / 100, f"{done}/100 runs")
    assert capsys.readouterr().err.splitlines() == ["0/100 runs", "100/100 runs"]


def test_a_line_says_how_long_the_rest_takes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the speed since the first one: what was there before took no time."""
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    shown = Progress()
    shown.update(0.5, "half")
    now = 60.0
    shown.update(0.75, "more")
    assert capsys.readouterr().err.splitlines() == ["half", "more; about 1 min left"]


def test_a_quiet_one_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("waiting", quiet=True) as shown:
        shown.update(1, "done")
        shown.say("a line")
    assert not capsys.readouterr().err


def test_a_terminal_shows_bars_of_parts_while_they_last(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with Progress() as shown:
        shown.update_part("seed=0", 0.5, "seed=0 half")
        shown.update(0.25, "0/2 runs")
        shown._bar.refresh()
        before = terminal.getvalue()
        shown.remove_part("seed=0")
        terminal.truncate(0)
        shown._bar.refresh()
        after = terminal.getvalue()
    assert "seed=0 half" in before
    assert "0/2 runs" in after
    assert "seed=0" not in after
