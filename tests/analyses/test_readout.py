"""A refitted readout finds what a representation holds, and nothing where there is nothing."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mechgrok.analyses import readout
from mechgrok.errors import UserError
from mechgrok.runs import Checkpoint, Run
from mechgrok.training import create_run

BASE = Run("data/base")
FEW = {"controls": 1}


def with_unembedding(path: Path, W_U: torch.Tensor) -> Run:
    """The shipped base run's last network at step 0, with another unembedding."""
    weights = BASE.checkpoint(-1).effective_weights | {"W_U": W_U}
    training = BASE.config.training.model_copy(update={"steps": 0})
    config = BASE.config.model_copy(update={"training": training})
    return create_run(path, config, Checkpoint(0, weights))


def test_a_network_that_cannot_answer_may_hold_the_answer(tmp_path: Path) -> None:
    W_U = torch.zeros_like(BASE.checkpoint(-1).weights["W_U"])
    silent = readout.measure(with_unembedding(tmp_path / "silent", W_U), **FEW).isel(step=0)
    assert float(silent.test_accuracy) < 0.05
    assert float(silent.test_refit_all) > 0.95
    assert (silent.control_accuracy < 0.1).all()
    intact = readout.measure(BASE, steps=[30000], **FEW).isel(step=0)
    assert float(intact.test_accuracy) == 1
    np.testing.assert_array_equal(intact.refit_accuracy, silent.refit_accuracy)


@pytest.mark.parametrize("fit", readout.FITS)
def test_one_hot_answers_are_read_and_noise_is_not(fit: str) -> None:
    generator = np.random.default_rng(0)
    labels = generator.permutation(np.arange(400) % 5)
    fitted, further = slice(300), slice(300, None)
    one_hot = np.eye(5)[labels] @ generator.standard_normal((5, 5))
    answers = readout.predictions(one_hot[fitted], labels[fitted], one_hot[further], fit)
    assert (answers == labels[further]).all()
    noise = generator.standard_normal((400, 5))
    answers = readout.predictions(noise[fitted], labels[fitted], noise[further], fit)
    assert 0.1 < (answers == labels[further]).mean() < 0.32  # chance is 0.2


def test_least_squares_with_a_penalty_is_the_closed_form() -> None:
    """sign(x wᵀ + b) with w = (Xᵀ X + α)⁻¹ Xᵀ y, X and y centred, for the best α by leaving out."""
    generator = np.random.default_rng(1)
    x, further = generator.standard_normal((20, 3)), generator.standard_normal((200, 3))
    labels = (x @ [1.0, -1.0, 0.5] + generator.standard_normal(20) > 0).astype(int)
    centred, signs = x - x.mean(0), 2.0 * labels - 1
    y = signs - signs.mean()
    errors = {}
    for penalty in readout._PENALTIES:
        hat = centred @ np.linalg.solve(centred.T @ centred + penalty * np.eye(3), centred.T)
        hat += 1 / 20  # of the constant
        errors[penalty] = np.square((signs - hat @ signs) / (1 - np.diag(hat))).mean()
    best = min(errors, key=errors.__getitem__)
    w = np.linalg.solve(centred.T @ centred + best * np.eye(3), centred.T @ y)
    wanted = ((further - x.mean(0)) @ w + signs.mean() > 0).astype(int)
    found = readout.predictions(x, labels, further, "least squares")
    np.testing.assert_array_equal(found, wanted)


def test_every_hidden_layer_has_its_readout(deep_run: Run) -> None:
    measured = readout.measure(deep_run, controls=1)
    assert measured.layer.to_numpy().tolist() == ["neurons 0", "neurons 1"]
    assert measured.refit_accuracy.dims == ("step", "layer", "fit", "labels")
    last = measured.refit_accuracy.isel(layer=1).sel(fit="logistic", labels="train")
    np.testing.assert_array_equal(measured.test_refit_train, last)
    inputs, labels = deep_run.task.test
    with torch.no_grad():
        own = float(deep_run.task.accuracy(deep_run.model(10)(inputs), labels))
    assert float(measured.test_accuracy.sel(step=10)) == own


def test_the_examples_and_the_checkpoints_are_limited(tiny_transformer_run: Run) -> None:
    measured = readout.measure(tiny_transformer_run, checkpoints=2, examples=5, controls=1)
    assert measured.sizes["step"] == 2
    shares = measured.refit_accuracy.to_numpy() * 5
    np.testing.assert_allclose(shares, shares.round())
    assert f"(2 of {len(tiny_transformer_run.steps)} checkpoints)" in readout.finding(measured)
    assert readout.draw({"a": measured, "b": measured}).data


def test_a_regression_has_no_readout_of_classes_and_none_of_nothing(tiny_run: Run) -> None:
    from mechgrok.configuration.run_config import RunConfig

    task = RunConfig.make(task={"name": "polynomial"}, model={"kind": "mlp", "d_model": None}).task
    regression = type("Regression", (), {"task": task})()
    assert "one class per example" in str(readout.applies(regression))
    assert readout.applies(tiny_run) is None
    with pytest.raises(UserError, match="controls = 0"):
        readout.measure(tiny_run, controls=0)


def test_what_uses_test_labels_is_declared() -> None:
    over_steps = {name for name, v in readout.VARIABLES.items() if v.dims == "step"}
    assert set(readout.USES_TEST_LABELS) == over_steps
