"""A model in a file of one's own trains, opens again, and is asked everything."""

from pathlib import Path
from typing import Any

import pytest

from mechgrok import own_code
from mechgrok.runs import Run

SOURCE = '''
from mechgrok.models import HookedMLP, MLPConfig


class LoudConfig(MLPConfig):
    kind: str = "loud.py:Loud"
    gain: float = 2.0


class Loud(HookedMLP):
    """The MLP with its outputs times ``gain``."""

    Config = LoudConfig

    def forward(self, inputs, way="auto"):
        return self.config.gain * super().forward(inputs, way)


class NoModel:
    pass
'''
TINY = ("--p", 7, "--train-fraction", 0.7, "--set", "model.d_model=8", "--set", "model.d_mlp=6",
        "--steps", 6, "--quiet")  # fmt: skip


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with a model, on a machine that has trained with none."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "loud.py").write_text(SOURCE)
    return tmp_path / "loud.py"


def test_it_trains_and_its_run_opens_from_elsewhere(
    source: Path, mechgrok: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = mechgrok("train", "--model", "loud.py:Loud", "--set", "model.gain=3", *TINY)
    assert ended.code == 0, ended.err
    own_code._allowed.clear()  # as in another process
    monkeypatch.chdir("/")
    run = Run(source.parent / "ckpts")
    assert run.config.model.kind == f"{source}:Loud"
    model, tokens = run.model(), run.task.test.inputs
    plain = super(type(model), model).forward(tokens)
    assert (model(tokens) == 3 * plain).all()
    for command in (("analyze", "fourier"), ("ticket", "--rate", 0.5, "--steps", 3, "-q")):
        ended = mechgrok(command[0], *command[1:], source.parent / "ckpts")
        assert ended.code == 0, ended.err


def test_a_class_that_is_no_model_is_refused(source: Path, mechgrok: Any) -> None:
    ended = mechgrok("train", "--model", "loud.py:NoModel", *TINY)
    assert ended.code == 2
    assert "is no model" in ended.err
