"""Metrics are functions of weights and data: the same alone, together, and after a resume."""

import math
from pathlib import Path

import pytest
import torch

import mechgrok
from mechgrok.configuration.run_config import RunConfig
from mechgrok.errors import UserError
from mechgrok.metrics import METRICS
from mechgrok.runs import Run
from mechgrok.runs.metrics import NAME
from mechgrok.training import resume, train, train_together
from tests.conftest import TINY_MLP

ASKED = {**TINY_MLP, "training": {"steps": 60, "checkpoint_every": 20, "metrics": list(METRICS)}}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(tmp_path_factory.mktemp("runs") / "run", RunConfig.make(**ASKED))


def test_the_columns_are_what_their_formulas_say(run: Run) -> None:
    for step in run.steps:
        model = run.model(step)
        inputs, labels = run.task.train
        loss = run.task.loss(model(inputs), labels)
        slopes = torch.autograd.grad(loss, list(model.parameters()))
        wanted = math.sqrt(sum(float(slope.double().square().sum()) for slope in slopes))
        row = run.metrics.set_index("step").loc[step]
        assert row.gradient_norm == pytest.approx(wanted, rel=1e-5)
        logits = model(inputs).detach()
        centred = logits - logits.mean(1, keepdim=True)
        assert row.logit_scale == pytest.approx(float(centred.square().mean().sqrt()), rel=1e-5)


def test_what_is_asked_for_changes_no_weight_and_survives_a_stop(run: Run, tmp_path: Path) -> None:
    plain = train(tmp_path / "plain", RunConfig.make(**TINY_MLP))
    assert torch.equal(plain.weights("W_in"), run.weights("W_in"))
    short = {**ASKED, "training": {**ASKED["training"], "steps": 40}}
    train(tmp_path / "stopped", RunConfig.make(**short))
    resumed = resume(tmp_path / "stopped", steps=60, checkpoint_every=20)
    assert (resumed.path / NAME).read_bytes() == (run.path / NAME).read_bytes()


def test_runs_that_are_trained_together_have_the_same_columns(run: Run, tmp_path: Path) -> None:
    configs = {tmp_path / str(seed): RunConfig.make(**ASKED, seed=seed) for seed in (0, 1)}
    train_together(configs)
    together = Run(tmp_path / "0").metrics
    assert list(together) == list(run.metrics)
    assert together.to_numpy() == pytest.approx(run.metrics.to_numpy(), rel=1e-3)


def test_one_of_your_own_is_a_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = "def largest(model, task, train):\n    return model.W_E.abs().max()\n"
    (tmp_path / "mine.py").write_text(source)
    name = f"{tmp_path}/mine.py:largest"
    run = mechgrok.train(
        tmp_path / "run", "quick", p=7, d_model=4, d_mlp=4, steps=2, metrics=name, progress=None
    )
    at_end = float(run.model(-1).W_E.detach().abs().max())
    assert run.metrics.largest.iloc[-1] == pytest.approx(at_end)
    assert Run(run.path).config.recipe.metrics == (name,)


@pytest.mark.parametrize("name", ["gradient_nrom", "nothing.py:f"])
def test_unknown_metrics_are_refused_before_anything_is_made(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=name.partition(":")[0]):
        mechgrok.train(tmp_path / "run", "quick", p=7, steps=2, metrics=name)
    assert not list(tmp_path.iterdir())


def test_runs_without_a_column_open_and_resume(run: Run, tmp_path: Path) -> None:
    """As an earlier version wrote them, and a later one may."""
    short = {**TINY_MLP, "training": {"steps": 40, "checkpoint_every": 20}}
    old = train(tmp_path / "old", RunConfig.make(**short))
    old.metrics.drop(columns="l1").assign(more=1.0).to_csv(old.path / NAME, index=False)
    opened = Run(old.path)
    assert opened.metrics.l1.isna().all()
    assert opened.metrics.more.eq(1).all()
    resumed = resume(old.path, steps=60, checkpoint_every=20)
    assert resumed.metrics.step.to_list() == run.metrics.step.to_list()
    assert resumed.metrics.l2.iloc[-1] == run.metrics.l2.iloc[-1]
    assert resumed.metrics.more.iloc[-1:].isna().all()
