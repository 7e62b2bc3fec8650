"""A training ends at the first loss that is not finite, keeps what came before, and says so."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from mechgrok.configuration.run_config import RunConfig
from mechgrok.derived import fork, train_popup, train_ticket
from mechgrok.runs import Run, compare
from mechgrok.runs.facts import facts
from mechgrok.runs.metrics import write_metrics
from mechgrok.sweeps.making import attempt
from mechgrok.sweeps.running import make_plan
from mechgrok.sweeps.table import table_of
from mechgrok.tasks.losses import accuracy
from mechgrok.training import Diverged, resume, train


def config(**settings: Any) -> RunConfig:
    training = {"steps": 100, "checkpoint_every": 8} | settings
    return RunConfig.make(
        task={"name": "add", "p": 7}, model={"d_model": 6, "d_mlp": 5}, training=training
    )


HOT = {"optimizer": "sgd", "weight_decay": 0.0, "learning_rate": 300.0}


def first_bad_loss(run: Run) -> int:
    """The step that a loop without checkpoints or evaluations finds by looking at every loss."""
    model, task = run.model(0), run.task
    optimizer = torch.optim.SGD(model.parameters(), lr=run.config.recipe.learning_rate)
    for step in range(1000):
        loss = task.loss(model(task.train.inputs), task.train.labels)
        if not loss.isfinite():
            return step
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    raise AssertionError("it never diverges")


def test_the_first_bad_step_is_named_and_what_came_before_is_kept(tmp_path: Path) -> None:
    with pytest.raises(Diverged) as ended:
        train(tmp_path / "run", config(**HOT))
    run = Run(tmp_path / "run")
    step = first_bad_loss(run)
    assert ended.value.step == step == run.diverged
    assert f"step {step}" in str(ended.value)
    assert "learning rate 300" in str(ended.value)
    assert run.metrics.step.tolist() == [s for s in run.metrics.step if s < step] + [step]
    assert max(run.steps) < step
    assert all(w.isfinite().all() for w in run.checkpoint(-1).weights.values())
    assert f"at step {step}, where the loss is not finite" in facts(run)["diverged"]
    assert not any("nan" in value for value in facts(run).values())


def test_going_on_ends_at_the_same_step(tmp_path: Path) -> None:
    for go_on in (lambda path: train(path, config(**HOT)), resume):
        with pytest.raises(Diverged) as ended:
            go_on(tmp_path / "run")
    assert ended.value.step == Run(tmp_path / "run").diverged
    assert Run(tmp_path / "run").metrics.step.is_unique


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({"learning_rate": 1e38, "weight_decay": 0.0}, "--lr"),
        ({"learning_rate": 0.1, "weight_decay": 900.0}, "90"),
        ({"l1": 1e38}, "--l1"),
        ({"l2": 1e38}, "--l2"),
    ],
)
def test_the_remedy_fits_the_cause(settings: dict, remedy: str, tmp_path: Path) -> None:
    with pytest.raises(Diverged, match=remedy):
        train(tmp_path / "run", config(**settings))


def test_initial_weights_that_overflow(tmp_path: Path) -> None:
    huge = config().model_copy(
        update={"model": config().model.model_copy(update={"init_scale": 1e30})}
    )
    with pytest.raises(Diverged, match=r"1e\+30.*--init-scale"):
        train(tmp_path / "run", huge)
    assert Run(tmp_path / "run").steps == [0]


def test_mini_batches_diverge_too(tmp_path: Path) -> None:
    with pytest.raises(Diverged) as ended:
        train(tmp_path / "run", config(batch_size=5, **HOT))
    run = Run(tmp_path / "run")
    assert run.diverged == ended.value.step
    assert run.metrics.step.is_unique


def test_runs_made_from_a_run_diverge_in_the_same_words(tmp_path: Path) -> None:
    parent = train(tmp_path / "parent", config(steps=20))
    for name, make in {"fork": fork, "ticket": train_ticket, "popup": train_popup}.items():
        options = {"at": 0} | HOT | ({"train_weights": True} if name == "popup" else {})
        with pytest.raises(Diverged, match="step"):
            make(parent, tmp_path / name, **options)
        assert Run(tmp_path / name).diverged is not None


def test_nobody_answers_in_numbers_that_are_none() -> None:
    outputs = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    labels = torch.tensor([0, 0])
    assert accuracy(outputs, labels) == 0.5
    assert accuracy(outputs * math.nan, labels).isnan()
    assert accuracy(torch.tensor([[math.nan]]), torch.tensor([0])).isnan()


def test_a_run_that_went_on_after_its_divergence_is_read_as_one_that_stopped(
    tmp_path: Path,
) -> None:
    """Version 0.1 trained on, and took the largest of outputs that were NaN for an answer."""
    run = train(tmp_path / "run", config(steps=20))
    good = {"train_loss": 1.0, "test_loss": 2.0, "train_accuracy": 0.5, "test_accuracy": 0.25}
    bad = {"train_loss": math.nan, "test_loss": math.nan, "train_accuracy": 1.0}
    rows = [
        {"step": 0, **good, "l1": 1.0, "l2": 1.0},
        {"step": 10, **bad, "test_accuracy": 1.0, "l1": math.nan, "l2": math.nan},
        {"step": 20, **bad, "test_accuracy": 1.0, "l1": math.nan, "l2": math.nan},
    ]
    write_metrics(run.path, rows)
    run = Run(run.path)
    assert run.diverged == 10
    assert run.t_mem is None
    assert run.t_gen is None
    assert run.metrics.train_accuracy[1:].isna().all()
    assert facts(run)["train at step 0"] == "accuracy 50.00%, loss 1"
    assert compare({"run": run}).best_test_accuracy["run"] == 0.25


def test_a_member_of_a_sweep_fails_in_the_same_words_and_the_others_go_on(tmp_path: Path) -> None:
    tiny = {"p": 7, "d_model": 6, "d_mlp": 5, "steps": 100, "optimizer": "sgd"}
    plan = make_plan(over={"learning_rate": [300.0, 0.01]}, settings=tiny)
    members = plan.members()
    hot, mild = (attempt(tmp_path, member) for member in members)
    assert (hot.how, mild.how) == ("failed", "done")
    assert "is infinite at step 2" in hot.words
    assert table_of(tmp_path, members).status.tolist() == ["diverged", "finished"]
