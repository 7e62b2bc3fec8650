"""The softmax collapses when logits grow, and gradients are those of the loss."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from mechgrok.analyses import stability
from mechgrok.models import load_weights, raw_weights
from mechgrok.runs import Checkpoint, Run
from mechgrok.training import create_run


def scaled(run: Run, path: Path, factor: float) -> Run:
    """The run's last network at step 0 of a run of its own, its unembedding ``factor`` times."""
    weights = dict(run.checkpoint(run.steps[-1]).effective_weights)
    last = next(name for name in weights if name.endswith("W_U"))
    weights[last] = weights[last] * factor
    config = run.config.model_copy(
        update={"training": run.config.training.model_copy(update={"steps": 0})}
    )
    return create_run(path, config, Checkpoint(0, weights))


def test_logits_a_thousand_times_as_large_collapse_in_both_precisions(
    tiny_run: Run, tmp_path: Path
) -> None:
    step = tiny_run.steps[-1]
    inputs, labels = tiny_run.task.train
    right = float((tiny_run.model(step)(inputs).argmax(-1) == labels).double().mean())
    large = stability.measure(scaled(tiny_run, tmp_path / "large", 1e5))
    assert right > 0
    assert large.collapsed.values.tolist() == [[pytest.approx(right, abs=0.03)] * 2]
    small = stability.measure(scaled(tiny_run, tmp_path / "small", 1e-3))
    assert small.collapsed.values.tolist() == [[0, 0]]
    assert float(small.logit_scale[0, 0]) == pytest.approx(
        1e-8 * float(large.logit_scale[0, 0]), rel=1e-4
    )


def test_collapse_begins_where_the_sum_of_exponentials_absorbs_the_rest() -> None:
    eps = {"float32": 2.0**-24, "float64": 2.0**-53}
    label = torch.tensor([0])
    for name, dtype in stability.PRECISIONS.items():
        lead = -np.log(eps[name])
        for more, share in ((-1.0, 0.0), (1.0, 1.0)):
            logits = torch.tensor([[lead + more, 0.0]], dtype=torch.float64)
            assert stability.collapsed(logits, label, dtype) == share


def test_the_gradient_is_the_slope_of_the_loss(tiny_run: Run) -> None:
    step = tiny_run.steps[-1]
    measured = stability.measure(tiny_run, steps=[step])
    model, task = tiny_run.model(step).double(), tiny_run.task
    weights = {name: weight.detach().clone() for name, weight in raw_weights(model).items()}

    def loss(factor: float, side: str) -> float:
        load_weights(model, {name: factor * weight for name, weight in weights.items()})
        inputs, labels = getattr(task, side)
        with torch.no_grad():
            return float(task.loss(model(inputs), labels))

    size = sum(float(w.square().sum()) for w in weights.values()) ** 0.5
    for side in ("train", "test"):
        # Along θ the slope of the loss is ∇L · θ.
        slope = (loss(1 + 1e-5, side) - loss(1 - 1e-5, side)) / 2e-5
        norm = float(np.sqrt((measured.gradient_norm.sel(side=side) ** 2).sum()))
        cosine = float(measured.along_weights.sel(side=side)[0])
        assert -slope == pytest.approx(cosine * norm * size, rel=1e-3)


def test_change_is_reckoned_from_the_checkpoint_before(tiny_run: Run, tmp_path: Path) -> None:
    path = Path(shutil.copytree(tiny_run.path, tmp_path / "copy"))
    first, second = Run(path).steps[:2]
    measured = stability.measure(Run(path), steps=[first, second])
    assert np.isnan(measured.relative_change[0]).all()
    w = tiny_run.weights("W_in").numpy()[:2]
    wanted = np.linalg.norm(w[1] - w[0]) / np.linalg.norm(w[1]) / (second - first)
    of = next(name for name in measured.weight.to_numpy() if name.endswith("W_in"))
    assert float(measured.relative_change.sel(weight=of)[1]) == pytest.approx(wanted, rel=1e-5)


def test_other_losses_have_no_softmax(deep_run: Run) -> None:
    assert "not trained with a softmax" in str(stability.applies(deep_run))


def test_the_figure_and_the_words(tiny_run: Run) -> None:
    measured = stability.measure(tiny_run)
    assert "softmax collapse reaches 0% of the training set in float32" in stability.finding(
        measured
    )
    figure = stability.draw({"a": measured, "b": measured})
    n_weights = len(tiny_run.weight_names)
    curves = [trace for trace in figure.data if trace.hovertemplate]
    assert len(curves) == 2 * (2 + 2 + 2 + 2 + 1 + 3 * n_weights)
