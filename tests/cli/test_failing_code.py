"""What user code raises is one sentence with its file's line, whatever kind of object it is."""

from collections.abc import Callable
from pathlib import Path

import pytest

CODE = """
import mechgrok
from mechgrok.optimization import Constraint


def margin(model, task, train):
    return 1.5


def l1(model, task, train):
    return 7.0


def broken(model, task, train):
    return [][0]


@mechgrok.score(scores="trained")
def unscored(model):
    return [][0]


class Broken(mechgrok.Transform):
    name: str = "broken"

    def change(self, gradients, weights, state):
        return [][0]


class Failing(mechgrok.Optimizer):
    name: str = "failing"

    def make(self, groups, learning_rate):
        return [][0]


class Torn(Constraint):
    name: str = "torn"

    def project(self, weights, memory, step):
        [][0]
"""
ANALYSIS = '''"""Which?"""


def measure(run, *, steps=None):
    return [][0]


def draw(measured):
    return None


def finding(dataset):
    return ""
'''
TRAIN = "train quick --p 7 --d-mlp 4 --steps 20 -q"


@pytest.fixture
def typed(mechgrok: Callable, tmp_path: Path) -> Callable:
    (tmp_path / "mine.py").write_text(CODE)
    (tmp_path / "which.py").write_text(ANALYSIS)
    return lambda line: mechgrok(*line.split())


@pytest.mark.parametrize(
    "options",
    [
        "--metric mine.py:broken",
        "--transform mine.py:Broken",
        "--optimizer mine.py:Failing",
        "--constraint mine.py:Torn",
    ],
)
def test_an_exception_in_training_is_a_sentence(options: str, typed: Callable) -> None:
    ended = typed(f"{TRAIN} --out run {options}")
    assert ended.code == 2
    assert "IndexError" in ended.err
    assert "at line" in ended.err.splitlines()[-1]
    assert "Traceback" not in ended.err


def test_an_exception_in_a_score_or_an_analysis_is_a_sentence(typed: Callable) -> None:
    assert typed(f"{TRAIN} --out run").code == 0
    for line in ("ticket run --method mine.py:unscored --out t -q", "analyze which.py run"):
        ended = typed(line)
        assert ended.code == 2
        assert "IndexError" in ended.err
        assert len(ended.err.splitlines()) == 1


def test_metrics_of_ones_own_are_named_on_the_command_line(typed: Callable, tmp_path: Path) -> None:
    assert typed(f"{TRAIN} --out run --metric mine.py:margin,gradient_norm").code == 0
    header = (tmp_path / "run" / "metrics.csv").read_text().partition("\n")[0]
    assert header.endswith(",margin,gradient_norm")
    ended = typed(f"{TRAIN} --out no --metric mine.py:l1")
    assert ended.code == 2
    assert "rename" in ended.err
    assert not (tmp_path / "no").exists()
