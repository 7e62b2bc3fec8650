"""What user code raises is one sentence with its file's line, whatever kind of object it is."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mechgrok.interventions import INTERVENTIONS

CODE = """
from typing import ClassVar

import mechgrok
from mechgrok.interventions import Intervention
from mechgrok.models import HookedMLP, MLPConfig
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
    beta: float = 0.9

    def make(self, groups, learning_rate):
        return [][0]


class Torn(Constraint):
    name: str = "torn"

    def project(self, weights, memory, step):
        [][0]


class Idle(mechgrok.Transform):
    name: str = "idle"
    strength: float = 1.0


class Loose(Constraint):
    name: str = "loose"

    def check(self, weights):
        pass


class Shape(MLPConfig):
    kind: str


class Net(HookedMLP):
    Config = Shape

    def forward(self, inputs, mode="auto"):
        return [][0]


class Unwired(HookedMLP):
    Config = Shape

    @classmethod
    def wire(cls, config, *, d_vocab, n_ctx, d_output):
        return [][0]


@mechgrok.operation("a ? b")
def undefined(a, b, p):
    return [][0]


@mechgrok.task
def empty(n: int = 3):
    return [][0]


class Unscored(mechgrok.Task):
    name: str = "unscored"
    p: int = 7
    d_vocab: ClassVar[int] = 7
    d_output: ClassVar[int] = 7

    @property
    def examples(self):
        return mechgrok.make_task("add", p=self.p).examples

    def loss(self, outputs, labels):
        return [][0]


class Stop(Intervention):
    def hooks(self, network, inputs):
        return [][0]
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
        "--model mine.py:Net",
        "--model mine.py:Unwired",
        "--task mine.py:undefined",
    ],
)
def test_an_exception_in_training_is_a_sentence(options: str, typed: Callable) -> None:
    ended = typed(f"{TRAIN} --out run {options}")
    assert ended.code == 2
    assert "IndexError" in ended.err
    assert "at line" in ended.err.splitlines()[-1]
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("task", ["empty", "Unscored"])
def test_an_exception_in_a_task_is_a_sentence(task: str, typed: Callable) -> None:
    ended = typed(f"train --task mine.py:{task} --d-mlp 4 --steps 20 -q --out run")
    assert ended.code == 2
    assert "at line" in ended.err.splitlines()[-1]
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("options", "methods"),
    [("--transform mine.py:Idle", "lr_scale"), ("--constraint mine.py:Loose", "project")],
)
def test_what_overrides_nothing_is_refused(options: str, methods: str, typed: Callable) -> None:
    ended = typed(f"{TRAIN} --out run {options}")
    assert ended.code == 2
    assert methods in ended.err
    assert len(ended.err.splitlines()) == 1


def test_a_misspelled_option_of_ones_own_optimizer_gets_the_nearest(typed: Callable) -> None:
    ended = typed(f"{TRAIN} --out run --optimizer mine.py:Failing:bta=0.5")
    assert ended.code == 2
    assert "did you mean beta?" in ended.err


def test_an_exception_in_an_intervention_is_a_sentence(
    typed: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(INTERVENTIONS.own, "Stop", None)  # removed after the test
    assert typed(f"{TRAIN} --out run").code == 0
    (tmp_path / "stop.toml").write_text('[[do]]\nkind = "Stop"\n')
    ended = typed("intervene run stop.toml --intervention mine.py:Stop")
    assert ended.code == 2
    assert "at line" in ended.err
    assert len(ended.err.splitlines()) == 1


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
