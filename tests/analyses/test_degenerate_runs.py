"""Networks that hold nothing, or no numbers: every analysis answers in words or refuses in one."""

import re
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mechgrok.configuration.run_config import RunConfig
from mechgrok.errors import UserError
from mechgrok.masks import Mask
from mechgrok.models import make_model
from mechgrok.results.analysis import Analysis, analyses
from mechgrok.runs import Run
from mechgrok.runs.checkpoint import Checkpoint, write_checkpoint
from mechgrok.runs.metrics import write_metrics
from mechgrok.training import create_run

Weights = dict[str, Tensor]
NAMES = list(analyses())
ADD = {"task": {"name": "add", "p": 5}, "model": {"kind": "mlp", "d_model": 4, "d_mlp": 3}}
LATER = 10


def _fill(value: float) -> Callable[[Weights, int], None]:
    def fill(weights: Weights, step: int) -> None:
        for weight in weights.values():
            weight.fill_(value)

    return fill


def _one_neuron(weights: Weights, step: int) -> None:
    weights["W_in"][:, 1:] = 0


def _never_active(weights: Weights, step: int) -> None:
    weights["W_E"].abs_()
    weights["W_in"].abs_().neg_()


def _silent(weights: Weights, step: int) -> None:
    weights["W_U"].zero_()


def _scale(factor: float) -> Callable[[Weights, int], None]:
    def scale(weights: Weights, step: int) -> None:
        for weight in weights.values():
            weight.mul_(factor)

    return scale


def _diverged(weights: Weights, step: int) -> None:
    if step:
        weights["W_in"][0, 0] = torch.nan


def _infinite(weights: Weights, step: int) -> None:
    weights["W_in"][0, 0] = torch.inf


def _as_drawn(weights: Weights, step: int) -> None:
    """Weights as they are: the degeneracy lies in the configuration."""


TRANSFORMER = {
    "task": {"name": "add", "p": 5, "pairs": "ordered"},
    "model": {"kind": "transformer", "d_model": 4, "d_mlp": 3, "n_heads": 2},
}
RUNS: dict[str, tuple[dict, Callable[[Weights, int], None]]] = {
    "all weights 0": (ADD, _fill(0)),
    "all weights 1": (ADD, _fill(1)),
    "a transformer of zeros": (TRANSFORMER, _fill(0)),
    "one neuron that reads": (ADD, _one_neuron),
    "no neuron ever active": (ADD, _never_active),
    "no answer differs": (ADD, _silent),
    "weights below the normal": (ADD, _scale(1e-41)),
    "weights whose squares overflow": (ADD, _scale(1e30)),
    "NaN from step 10": (ADD, _diverged),
    "infinite at every step": (ADD, _infinite),
    "masks all 0": (ADD, _as_drawn),
    "p = 2": (ADD | {"task": {"name": "add", "p": 2, "train_fraction": 0.5}}, _as_drawn),
    "products modulo 2": (
        ADD | {"task": {"name": "mul", "p": 2, "train_fraction": 0.5}},
        _as_drawn,
    ),
    "one neuron": (ADD | {"model": {"kind": "mlp", "d_model": 4, "d_mlp": 1}}, _as_drawn),
    "one dimension": (ADD | {"model": {"kind": "mlp", "d_model": 1, "d_mlp": 3}}, _as_drawn),
    "one of everything": (
        {
            "task": {"name": "add", "p": 2, "pairs": "ordered", "train_fraction": 0.5},
            "model": {"kind": "transformer", "d_model": 1, "d_mlp": 1, "n_heads": 1},
        },
        _as_drawn,
    ),
}


def _make(path: Path, name: str) -> Run:
    fields, change = RUNS[name]
    config = RunConfig.make(**fields, training={"steps": LATER})
    model = make_model(config.model, config.task, seed=0)
    for step in (0, LATER):
        weights = {n: w.detach().clone() for n, w in model.named_parameters()}
        change(weights, step)
        mask = None
        if name == "masks all 0":
            mask = ~Mask.full(weights)
        saved = Checkpoint(step, weights, mask)
        if step == 0:
            create_run(path, config, saved)
        else:
            write_checkpoint(path, saved)
    row = {"train_loss": 1.0, "test_loss": 2.0, "train_accuracy": 0.5, "test_accuracy": 0.0}
    write_metrics(path, [{"step": step, **row, "l1": 1.0, "l2": 1.0} for step in (0, LATER)])
    return Run(path)


@pytest.mark.parametrize("name", RUNS)
def test_every_analysis_answers_in_words(name: str, tmp_path: Path) -> None:
    run = _make(tmp_path / "run", name)
    for analysis in map(Analysis.load, NAMES):
        if analysis.applies(run):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                measured = analysis.measure(run)
                words = analysis.finding(measured)
                title = analysis.draw({"run": measured}).layout.title.text
            except UserError as refusal:
                words, title = str(refusal), ""
        for text in (words, title):
            assert not re.search(r"\b(nan|inf)\b|-0\.0+\b", text), (analysis.name, text)


def test_who_is_dead_is_said_in_words(tmp_path: Path) -> None:
    run = _make(tmp_path / "run", "all weights 0")
    for name in ("dead-neurons", "fourier", "periodicity"):
        analysis = Analysis.load(name)
        assert "no neuron is alive" in analysis.finding(analysis.measure(run))


def test_steps_that_hold_no_numbers_are_left_out_and_named(tmp_path: Path) -> None:
    run = _make(tmp_path / "run", "NaN from step 10")
    for name in ("embedding", "graph", "trajectory"):
        analysis = Analysis.load(name)
        measured = analysis.measure(run)
        assert measured.step.to_numpy().tolist() == [0]
        assert "1 step from 10 on skipped" in analysis.finding(measured)
    run = _make(tmp_path / "never", "infinite at every step")
    with pytest.raises(UserError, match="--steps"):
        Analysis.load("graph").measure(run)


def test_a_run_that_was_never_evaluated_says_so(tmp_path: Path) -> None:
    run = _make(tmp_path / "run", "p = 2")
    write_metrics(run.path, [])
    run = Run(run.path)
    assert "never evaluated" in str(Analysis.load("accuracy").applies(run))
    for name in ("dead-neurons", "graph", "similarity"):
        assert Analysis.load(name).measure(run)["test_accuracy"].isnull().all()


@pytest.mark.parametrize("fixture", ["tiny_run", "tiny_transformer_run", "deep_run"])
def test_every_analysis_can_be_asked_of_a_single_checkpoint(
    fixture: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    trained: Run = request.getfixturevalue(fixture)
    saved = trained.checkpoint(-1)
    fields = trained.config.model_dump(include={"task", "model"})
    alone = Checkpoint(0, saved.weights, saved.mask)
    run = create_run(tmp_path / "run", RunConfig.make(**fields, training={"steps": 0}), alone)
    row = trained.metrics.iloc[-1].to_dict() | {"step": 0}
    write_metrics(run.path, [row])
    for analysis in map(Analysis.load, NAMES):
        if not analysis.applies(run):
            measured = analysis.measure(run)
            assert analysis.finding(measured)
            assert analysis.draw({"alone": measured}).data
