"""A model in a file of one's own trains, opens again, and is asked everything."""

from pathlib import Path
from typing import Any

import pytest
import torch

from mechgrok import user_code
from mechgrok.results.analysis import analyses
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
    user_code._allowed.clear()  # as in another process
    monkeypatch.chdir("/")
    run = Run(source.parent / "ckpts")
    assert run.config.model.kind == f"{source}:Loud"
    model, tokens = run.model(), run.task.test.inputs
    plain = super(type(model), model).forward(tokens)
    assert (model(tokens) == 3 * plain).all()
    assert type(run.model(0)) is type(run.model(6))  # its file is executed once
    for command in (("analyze", "fourier"), ("ticket", "--rate", 0.5, "--steps", 3, "-q")):
        ended = mechgrok(command[0], *command[1:], source.parent / "ckpts")
        assert ended.code == 0, ended.err


PRODUCT = '''
from mechgrok.models import Group, ModelShape, WiredModel, Wiring


class Product(WiredModel):
    """f(a, b) = (W_a[a] * W_b[b]) W_out."""

    Config = ModelShape

    @classmethod
    def wire(cls, config, *, d_vocab, n_ctx, d_output):
        token, neuron = Group(d_vocab, "token"), Group(config.d_mlp, "neuron")
        groups = {"a": token, "b": token, "neurons": neuron, "out": Group(d_output, "output")}
        ends = {"W_a": ("a", "neurons"), "W_b": ("b", "neurons"), "W_out": ("neurons", "out")}
        return Wiring.between(groups, ends, hooks={"neurons": "hook_post"})

    def forward(self, inputs):
        a, b = inputs.T
        return self.hook_logits(self.hook_post(self.W_a[a] * self.W_b[b]) @ self.W_out)
'''


def test_a_model_that_is_only_its_wiring_and_a_formula_is_asked_everything(
    source: Path, mechgrok: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(source.parent)
    Path("product.py").write_text(PRODUCT)
    ended = mechgrok("train", "--model", "product.py:Product", "--pairs", "ordered", *TINY)
    assert ended.code == 0, ended.err
    run = Run("ckpts")
    model, tokens = run.model(), run.task.test.inputs
    assert list(model.hook_dict)[-2:] == ["hook_post", "hook_logits"]
    outputs, cache = model.run_with_cache(tokens)
    assert cache["hook_post"].shape == (len(tokens), 6)
    assert (outputs == cache["hook_post"] @ model.W_out).all()
    expected = torch.randn(7, 6, generator=torch.Generator().manual_seed(0)) / 7**0.5
    torch.testing.assert_close(run.weights("W_a", [0])[0], expected)
    ended = mechgrok("ticket", "--rate", 0.5, "--steps", 3, "-q", "ckpts", "--out", "ticket")
    assert ended.code == 0, ended.err
    for name in analyses():
        ended = mechgrok("analyze", name, "ticket")
        assert ended.code in (0, 2), (name, ended.err)


def test_a_class_that_is_no_model_is_refused(source: Path, mechgrok: Any) -> None:
    ended = mechgrok("train", "--model", "loud.py:NoModel", *TINY)
    assert ended.code == 2
    assert "NoModel" in ended.err
