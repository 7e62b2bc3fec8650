"""Phases change settings at a step, and leave a run what it is: resumable, maskable, stackable."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from mechgrok import Phase, Run, RunConfig, UserError, fork, sweep, train, train_popup, train_ticket
from mechgrok.configuration.training import TrainingConfig
from mechgrok.runs.facts import facts
from mechgrok.runs.state import read_state
from mechgrok.training import Interrupted, create_run, resume, train_together
from mechgrok.training.recorder import stopping_step
from mechgrok.training.together import bundles

SHORT: dict[str, Any] = {"p": 7, "d_model": 8, "d_mlp": 8, "steps": 40, "checkpoint_every": 10}
#: Phases of every kind: data, optimizer, transforms, constraints, dropout, mini-batches, loss.
MANY = (
    "10:train_fraction=0.6:dropout=0.2:transforms=grokfast-ema:lamb=1"
    "+20:optimizer=sgd:momentum=0.9:learning_rate=0.1:batch_size=8:objective=mse"
    "+30:split_seed=3:constraints=norm:times=1:transforms=none:dropout=0"
)


def short(out: Path, phases: Any = None, **settings: Any) -> Run:
    return train(out, "quick", phases=phases, progress=None, **SHORT | settings)


def norm(run: Run, step: int) -> float:
    weights = run.checkpoint(step).effective_weights.values()
    return float(sum(weight.double().square().sum() for weight in weights)) ** 0.5


def same_bytes(one: Run, other: Run, *names: str) -> bool:
    files = [*(one.file(step).name for step in one.steps), *names]
    return one.steps == other.steps and all(
        (one.path / name).read_bytes() == (other.path / name).read_bytes() for name in files
    )


def test_from_its_step_on_a_phase_replaces_settings(tmp_path: Path) -> None:
    sgd = {"optimizer": "sgd", "weight_decay": 0, "learning_rate": 0.01, "steps": 2}
    sgd |= {"checkpoint_every": 1}
    run = short(tmp_path / "run", "1:learning_rate=0.5:train_fraction=0.6", **sgd)
    assert run.task_at(0) == run.task
    task, model = run.task_at(1), run.model(1)
    assert (task.train_fraction, len(task.train.labels)) == (0.6, int(0.6 * run.task.n_examples))
    task.loss(model(task.train.inputs), task.train.labels).backward()
    for name, weight in model.named_parameters():
        expected = weight - 0.5 * weight.grad
        torch.testing.assert_close(run.checkpoint(2).weights[name], expected.detach())
    plain = short(tmp_path / "plain", **sgd)
    assert plain.file(1).read_bytes() == run.file(1).read_bytes()
    loss = task.loss(run.model(1)(task.test.inputs), task.test.labels)
    assert run.metrics.set_index("step").test_loss[1] == pytest.approx(loss.item())


def test_a_smaller_training_set_is_part_of_a_larger_one(tmp_path: Path) -> None:
    config = RunConfig.preset("quick", phases="5:train_fraction=0.2+9:train_fraction=0.7", **SHORT)
    first, fewer, more = (set(config.at(s).task.train_index.tolist()) for s in (0, 5, 9))
    assert fewer < first < more
    other = RunConfig.preset("quick", phases="5:split_seed=1", **SHORT).at(5).task
    assert set(other.train_index.tolist()) != first


@pytest.mark.parametrize("stop", [10, 16, 30])
def test_an_interrupted_run_resumes_to_the_same_bytes(stop: int, tmp_path: Path) -> None:
    whole = short(tmp_path / "whole", MANY)

    def interrupt(row: dict[str, float]) -> None:
        if row["step"] == stop:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        train(tmp_path / "part", "quick", phases=MANY, progress=interrupt, **SHORT)
    part = resume(tmp_path / "part", progress=None)
    for step in whole.steps:
        assert part.file(step).read_bytes() == whole.file(step).read_bytes()
    assert read_state(part.path)[1].keys() == read_state(whole.path)[1].keys()
    assert list(whole.metrics.phase[whole.metrics.step.isin([0, 10, 20, 30])]) == [0, 1, 2, 3]


def test_a_fork_is_the_run_with_one_phase_more(tmp_path: Path) -> None:
    whole = short(tmp_path / "whole", "20:weight_decay=0:train_fraction=0.6+30:transforms=clip")
    parent = short(tmp_path / "parent", steps=20)
    child = fork(
        parent, tmp_path / "fork", steps=20, checkpoint_every=10, weight_decay=0,
        train_fraction=0.6, phases="30:transforms=clip", progress=None,
    )  # fmt: skip
    assert child.config.recipe.phases == whole.config.recipe.phases
    assert same_bytes(whole, child, "metrics.csv", "resume.safetensors")


@pytest.mark.parametrize("settings", [{}, {"batch_size": 5, "dropout": 0.1}])
def test_a_fork_with_equal_settings_is_the_unforked_run(settings: Any, tmp_path: Path) -> None:
    phases = "30:weight_decay=0"
    whole = short(tmp_path / "whole", phases, **settings)
    parent = short(tmp_path / "parent", **settings | {"steps": 20})
    child = fork(
        parent, tmp_path / "fork", steps=20, checkpoint_every=10, phases=phases, progress=None
    )
    assert same_bytes(whole, child, "metrics.csv", "resume.safetensors")


def test_a_fork_at_an_older_step_begins_with_a_new_optimizer(tmp_path: Path) -> None:
    parent = short(tmp_path / "parent", "10:label_noise=0.1+30:weight_decay=2")
    child = fork(parent, tmp_path / "fork", at=10, learning_rate=0.01, progress=None)
    assert child.config.origin.optimizer_state is False  # type: ignore[union-attr]
    assert child.steps[-1] == 50
    assert child.config.at(10).recipe.learning_rate == 0.01
    assert child.config.at(10).task.label_noise == 0.1
    assert child.config.at(30).recipe.weight_decay == 2
    for step in (step for step in child.steps if step <= 10):
        assert child.file(step).read_bytes() == parent.file(step).read_bytes()
    with pytest.raises(UserError, match="before the fork"):
        fork(parent, tmp_path / "early", at=10, phases="5:weight_decay=0")


def test_the_optimizer_s_state_carries_over_where_it_fits(tmp_path: Path) -> None:
    def keys(phases: str, **settings: Any) -> set[str]:
        run = short(tmp_path / str(len(list(tmp_path.iterdir()))), phases, **settings)
        return {entry.rpartition("/")[2] for entry in read_state(run.path)[1]}

    def steps(phases: str) -> float:
        run = short(tmp_path / str(len(list(tmp_path.iterdir()))), phases)
        return float(read_state(run.path)[1]["W_E/step"])

    moments = {"exp_avg", "exp_avg_sq", "step"}
    assert keys("20:weight_decay=0") == moments
    assert keys("20:optimizer=sgd:momentum=0.9") == {"momentum_buffer"}
    assert keys("20:momentum=0", optimizer="sgd", momentum=0.9) == set()
    assert keys("20:transforms=grokfast-ema,clip") == moments | {"transforms.0.average"}
    assert keys("20:transforms=none", transforms="grokfast-ema") == moments
    assert (steps("20:betas=[0.8,0.9]"), steps("20:optimizer=adam")) == (40, 20)


def test_a_norm_is_held_from_the_phase_s_beginning(tmp_path: Path) -> None:
    run = short(tmp_path / "run", "20:constraints=norm:times=1:learning_rate=0.01")
    assert norm(run, 10) != pytest.approx(norm(run, 20), rel=1e-4)
    for step in (30, 40):
        assert norm(run, step) == pytest.approx(norm(run, 20), rel=1e-6)


def test_t_mem_and_t_gen_are_known_since_the_last_phase(tmp_path: Path) -> None:
    easy: dict[str, Any] = {"steps": 400, "learning_rate": 0.02, "d_model": 32, "d_mlp": 32}
    run = short(tmp_path / "run", "300:split_seed=9", **easy)
    assert run.t_mem is not None
    assert run.t_mem < 300 < run.since_last_phase()["t_mem"]
    assert run.milestones["phase_1"] == 300
    described = facts(run)
    assert described["from step 300"] == "split seed 9"
    assert described["t_mem from 300 on"] == str(run.since_last_phase()["t_mem"])
    unchanged = short(tmp_path / "unchanged")
    assert not {"phase_1"} & unchanged.milestones.keys()


def test_until_grokked_counts_from_the_last_phase() -> None:
    task = RunConfig.preset("quick").task
    learned = {"test_accuracy": 1.0, "test_loss": 0.0}
    rows = [{"step": float(step), **learned} for step in range(0, 60, 10)]
    training = TrainingConfig(steps=100, until_grokked=5, phases="30:weight_decay=0")
    assert stopping_step(rows, task, training) == 35
    assert stopping_step(rows[:3], task, training) == float("inf")


def test_a_run_without_phases_is_written_as_before(tmp_path: Path) -> None:
    run = short(tmp_path / "run", "none", steps=1)
    assert "phase" not in (run.path / "config.json").read_text()
    assert "phase" not in (run.path / "metrics.csv").read_text()
    assert run.config.at(1) is run.config


def test_runs_with_equal_phases_train_together(tmp_path: Path) -> None:
    texts = {
        "a": "20:train_fraction=0.6+30:weight_decay=0",
        "b": "20:train_fraction=0.6+30:weight_decay=3",
        "c": "20:train_fraction=0.2+30:weight_decay=0",
        "d": "none",
    }
    configs = {
        tmp_path / name: RunConfig.preset("quick", phases=text, seed=seed, **SHORT)
        for seed, (name, text) in enumerate(texts.items())
    }
    runs = [create_run(tmp_path / "new" / path.name, config) for path, config in configs.items()]
    assert [len(group) for group in bundles(runs, 16)] == [2, 1, 1]
    train_together(configs)
    for seed, (name, text) in enumerate(texts.items()):
        alone = short(tmp_path / f"{name}-alone", text, seed=seed)
        together = Run(tmp_path / name)
        assert together.steps == alone.steps
        for weight, expected in alone.checkpoint(-1).weights.items():
            torch.testing.assert_close(together.checkpoint(-1).weights[weight], expected)


def test_tickets_and_edge_popup_go_through_their_parent_s_phases(tmp_path: Path) -> None:
    parent = short(tmp_path / "parent", "20:weight_decay=0:train_fraction=0.6")
    ticket = train_ticket(parent, tmp_path / "ticket", rate=0.6, progress=None)
    popup = train_popup(parent, tmp_path / "popup", at=0, progress=None)
    for child in (ticket, popup):
        assert child.config.recipe.phases == parent.config.recipe.phases
        assert child.metrics.phase.max() == 1
    mask = ticket.mask
    assert mask is not None
    for name, weight in ticket.checkpoint(-1).effective_weights.items():
        assert weight[~mask[name]].abs().sum() == 0


def test_phases_are_an_axis_of_a_sweep(tmp_path: Path) -> None:
    axis = "none,20:weight_decay=0,20:weight_decay=0+30:train_fraction=0.6"
    many = sweep(tmp_path / "many", "quick", over={"phase": axis}, jobs=1, **SHORT)
    assert [len(run.config.recipe.phases) for run in many.runs.values()] == [0, 1, 2]
    assert [run.finished for run in many.runs.values()] == [True] * 3


@pytest.mark.parametrize(
    "given",
    [
        "20:wd=0:transforms=clip:max_norm=2",
        Phase(at=20, weight_decay=0, transforms="clip:max_norm=2"),
        [{"at": 20, "training.weight_decay": 0, "transforms": [{"name": "clip", "max_norm": 2}]}],
        ["20:weight_decay=0:transform=clip:max_norm=2"],
    ],
)
def test_a_phase_is_a_text_an_object_or_a_dictionary(given: Any) -> None:
    config = RunConfig.preset("quick", phases=given, **SHORT)
    (phase,) = config.recipe.phases
    assert phase.at == 20
    after = config.at(20).recipe
    assert (after.weight_decay, str(after.transforms[0])) == (0, "clip:max_norm=2")
    assert config.at(19).recipe == config.recipe.model_copy(update={"phases": ()})
    assert RunConfig.make(**config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("phases", "remedy"),
    [
        ("-5:weight_decay=0", "0 or later"),
        ("41:weight_decay=0", "--steps"),
        ("5:weight_decay=0,5:learning_rate=1", "one phase"),
        ("5:wd=0:weight_decay=1", "one value"),
        ("5:weight_decai=0", "did you mean weight_decay?"),
        ("5:steps=9", "such as weight_decay"),
        ("5:checkpoint_every=9", "such as weight_decay"),
        ("5:d_mlp=9", "such as weight_decay"),
        ("5:seed=9", "such as weight_decay"),
        ("5:p=11", "such as weight_decay"),
        ("5:weight_decay=-1", "greater than or equal to 0"),
        ("5:weight_decay", "5000:weight_decay=0"),
        ("5", "5000:weight_decay=0"),
        ("weight_decay=0", "5000:weight_decay=0"),
        ("5:train_fraction=0.001", "choose one between"),
        ("5:transforms=clop", "clip"),
        ("5:max_norm=3", "--transform clip"),
        ("5:momentum=0.9", "momentum"),
        ("5:transforms=none:tempo=2", "cannot change 'tempo'"),
        ("5:objective=mose", "mse"),
        ("5:constraints=norm:of=W_X:value=3", "W_E, W_in, W_out or W_U"),
        ("5:optimizer=muon:matrices=non", "inside"),
        ([{"weight_decay": 0}], "begins at a step"),
        ([5], "5000:weight_decay=0"),
    ],
)
def test_what_cannot_change_is_refused_before_anything_is_written(
    phases: Any, remedy: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as error:
        short(tmp_path / "run", phases)
    assert remedy in str(error.value)
    assert not list(tmp_path.iterdir())


def test_options_follow_the_name_that_they_belong_to() -> None:
    text = "5:transforms=sam:rho=0.1,clip:lr=2+9:constraints=frequencies:keep=1+3:of=W_E:wd=0"
    first, second = RunConfig.preset("quick", phases=text).recipe.phases
    assert [part["name"] for part in first.settings["transforms"]] == ["sam", "clip"]
    assert (first.settings["learning_rate"], second.settings["weight_decay"]) == (2, 0)
    assert second.settings["constraints"][0]["keep"] == "1+3"


def test_code_of_one_s_own_may_act_from_a_step_on(tmp_path: Path) -> None:
    file = tmp_path / "halved.py"
    file.write_text(
        "import mechgrok\n"
        "class Halved(mechgrok.Transform):\n"
        "    name: str = 'halved'\n"
        "    by: float = 2.0\n"
        "    def change(self, gradients, weights, state):\n"
        "        return [gradient / self.by for gradient in gradients]\n"
    )
    run = short(tmp_path / "run", f"20:transforms={file}:Halved:by=4")
    assert run.config.user_code() == {f"{file}:Halved"}
    assert run.config.at(20).recipe.transforms[0].by == 4  # type: ignore[attr-defined]
