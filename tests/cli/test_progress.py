"""What is said while something takes long."""

import threading
import time

import pytest

from mechgrok.cli.progress import TrainingProgress, status
from mechgrok.tasks.base import Criterion


def test_a_run_that_has_generalized_long_before_its_end_is_said_to_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress = TrainingProgress(30_000, learned=Criterion("accuracy", 0.95))
    for step, accuracy in ((0, 0.1), (300, 0.97), (600, 0.99)):
        progress({"step": step, "train_accuracy": 1.0, "test_accuracy": accuracy})
    told = [line for line in capsys.readouterr().err.splitlines() if "generalized" in line]
    assert len(told) == 1
    assert "at step 300 of 30,000; --until-grokked would stop" in told[0]


def test_a_long_measurement_is_not_silent(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = threading.Timer
    monkeypatch.setattr(threading, "Timer", lambda seconds, call: real(seconds / 100, call))
    with status("measuring graph on base"):
        time.sleep(0.3)
    assert capsys.readouterr().err == "measuring graph on base …\n"
    with status("measuring norms on base"):
        pass
    assert not capsys.readouterr().err
