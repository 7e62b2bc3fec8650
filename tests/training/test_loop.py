"""Training is exact, seeded, interruptible and resumable."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from mechgrok.configuration.run_config import RunConfig
from mechgrok.errors import ExternalError, UserError
from mechgrok.runs import Run, verify
from mechgrok.runs.facts import facts
from mechgrok.training import Interrupted, evaluate, resume, train

TASK = {"name": "add", "p": 7, "train_fraction": 0.7}
MODEL = {"kind": "mlp", "d_model": 12, "d_mlp": 8}


def config(seed: int = 0, **training: Any) -> RunConfig:
    settings = {"steps": 60, "checkpoint_every": 20} | training
    return RunConfig.make(task=TASK, model=MODEL, training=settings, seed=seed)


def weights_at_end(run: Run) -> dict[str, torch.Tensor]:
    return run.checkpoint(-1).weights


def same(one: Run, other: Run) -> bool:
    theirs = weights_at_end(other)
    return all(torch.equal(weight, theirs[name]) for name, weight in weights_at_end(one).items())


def test_one_step_of_adamw_is_the_formula(tmp_path: Path) -> None:
    run = train(tmp_path / "run", config(steps=1, learning_rate=0.01, weight_decay=0.5))
    model, task = run.model(0), run.task
    task.loss(model(task.train.inputs), task.train.labels).backward()
    for name, weight in model.named_parameters():
        # First step: the bias-corrected moments are g and g², so the update is g / (|g| + ε).
        update = weight.grad / (weight.grad.abs() + 1e-8)
        expected = weight * (1 - 0.01 * 0.5) - 0.01 * update
        torch.testing.assert_close(run.checkpoint(1).weights[name], expected.detach())


def test_penalties_enter_the_gradient(tmp_path: Path) -> None:
    plain, penalized = (
        train(tmp_path / name, config(steps=1, optimizer="sgd", weight_decay=0.0, **extra))
        for name, extra in {"plain": {}, "penalized": {"l1": 0.3, "l2": 0.2}}.items()
    )
    theta = plain.checkpoint(0).weights
    for name, weight in weights_at_end(plain).items():
        expected = weight - 1e-3 * (0.3 * theta[name].sign() + 0.2 * 2 * theta[name])
        torch.testing.assert_close(weights_at_end(penalized)[name], expected)


def test_each_seed_settles_its_own_part(tmp_path: Path) -> None:
    runs = {
        "first": config(seed=1, batch_size=4),
        "again": config(seed=1, batch_size=4),
        "weights": config(seed=2, batch_size=4),
        "batches": config(seed=1, batch_size=4, batch_seed=1),
    }
    trained = {name: train(tmp_path / name, each) for name, each in runs.items()}
    assert same(trained["first"], trained["again"])
    assert not same(trained["first"], trained["weights"])
    assert not same(trained["first"], trained["batches"])
    start = trained["first"].checkpoint(0).weights["W_in"]
    assert torch.equal(start, trained["batches"].checkpoint(0).weights["W_in"])


def test_an_epoch_sees_every_example_once() -> None:
    from mechgrok.tasks import Examples
    from mechgrok.training.loop import make_batches

    data = Examples(torch.arange(10)[:, None], torch.arange(10))
    batches = make_batches(data, config(batch_size=4).training, start=0)
    epochs = [[next(batches).labels for _ in range(3)] for _ in range(2)]
    for epoch in epochs:
        assert [len(batch) for batch in epoch] == [4, 4, 2]
        assert sorted(torch.cat(epoch).tolist()) == list(range(10))
    assert not torch.equal(torch.cat(epochs[0]), torch.cat(epochs[1]))
    later = make_batches(data, config(batch_size=4).training, start=4)
    assert torch.equal(next(later).labels, epochs[1][1])


def test_metrics_are_those_of_the_checkpoint(tiny_run: Run) -> None:
    row = tiny_run.metrics.set_index("step").loc[40]
    model, task = tiny_run.model(40), tiny_run.task
    again = evaluate(model, task, task.train, task.test)
    for name, value in again.items():
        assert row[name] == pytest.approx(value, rel=1e-6)
    flat = torch.cat([weight.flatten() for weight in tiny_run.checkpoint(40).weights.values()])
    assert row.l1 == pytest.approx(flat.abs().sum().item(), rel=1e-5)
    assert row.l2 == pytest.approx(flat.norm().item(), rel=1e-5)


@pytest.mark.parametrize("settings", [{}, {"batch_size": 4}, {"optimizer": "sgd", "momentum": 0.9}])
def test_an_interrupted_run_ends_in_the_same_weights(tmp_path: Path, settings: dict) -> None:
    whole = train(tmp_path / "whole", config(**settings))

    def interrupt(row: dict[str, float]) -> None:
        if row["step"] == 30:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted) as stopped:
        train(tmp_path / "parts", config(**settings), progress=interrupt)
    broken = Run(tmp_path / "parts")
    assert broken.steps[-1] == stopped.value.step
    assert not broken.finished
    parts = resume(tmp_path / "parts")
    assert parts.finished
    assert same(whole, parts)
    assert parts.metrics.set_index("step").loc[60].equals(whole.metrics.set_index("step").loc[60])


def test_a_run_goes_on_with_as_many_threads_as_it_began_with(tmp_path: Path) -> None:
    before, seen = torch.get_num_threads(), []

    def look(row: dict[str, float]) -> None:
        seen.append(torch.get_num_threads())

    run = train(tmp_path / "run", config(threads=before + 1), progress=look)
    resume(run.path, steps=80, progress=look)
    assert set(seen) == {before + 1}
    assert torch.get_num_threads() == before
    assert f"{before + 1} threads" in facts(run)["training"]


def test_a_killed_run_opens_and_ends_in_the_same_weights(tmp_path: Path) -> None:
    settings = config(steps=1000, checkpoint_every=10)
    (tmp_path / "config.json").write_text(settings.model_dump_json())
    program = (
        "import sys, torch; torch.set_num_threads(1)\n"
        "from mechgrok import RunConfig, train\nimport json\n"
        "train(sys.argv[2], RunConfig.make(**json.load(open(sys.argv[1]))))"
    )
    folder = tmp_path / "killed"
    command = [sys.executable, "-c", program, str(tmp_path / "config.json"), str(folder)]
    child = subprocess.Popen(command)
    while len(list(folder.glob("step_*"))) < 40:
        assert child.poll() is None
        time.sleep(0.02)
    child.kill()
    child.wait()
    reached = Run(folder).steps[-1]
    assert 0 < reached < 1000
    assert all(Run(folder).model(step) for step in Run(folder).steps)
    resumed = resume(folder)
    whole = train(tmp_path / "whole", settings)
    assert resumed.steps == whole.steps
    assert same(resumed, whole)


def test_a_state_older_than_the_newest_checkpoint_is_gone_on_from(tmp_path: Path) -> None:
    """As when the program dies between writing a checkpoint and the optimizer's state."""
    whole = train(tmp_path / "whole", config())
    run = train(tmp_path / "run", config(steps=40))
    state = (run.path / "resume.safetensors").read_bytes()
    run = resume(run.path, steps=60)
    (run.path / "resume.safetensors").write_bytes(state)
    assert same(resume(run.path), whole)


def test_more_steps_go_on_from_where_it_ended(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", config())
    train(tmp_path / "longer", config(steps=40))
    assert same(resume(tmp_path / "longer", steps=60), whole)
    with pytest.raises(UserError, match="step 60"):
        resume(tmp_path / "longer", steps=10)


def test_a_slip_in_the_number_of_steps_can_be_taken_back(tmp_path: Path) -> None:
    whole = train(tmp_path / "run", config(steps=40))
    before = {file.name: file.read_bytes() for file in whole.path.glob("[ms]*")}

    def interrupt(row: dict[str, float]) -> None:
        if row["step"] == 60:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        resume(tmp_path / "run", steps=4_000_000, progress=interrupt)
    assert Run(tmp_path / "run").steps[-1] == 60
    with pytest.raises(UserError, match=r"--steps 60 .*40"):
        resume(tmp_path / "run", steps=20)
    back = resume(tmp_path / "run", steps=40, checkpoint_every=20)
    assert {file.name: file.read_bytes() for file in back.path.glob("[ms]*")} == before
    assert back.config.recipe == whole.config.recipe
    assert same(resume(tmp_path / "run", steps=60), train(tmp_path / "straight", config(steps=60)))


def test_until_grokked_stops_after_t_gen(tmp_path: Path) -> None:
    easy = RunConfig.make(
        task={"name": "add", "p": 13, "pairs": "ordered", "train_fraction": 0.8},
        model={"kind": "mlp", "d_model": 128, "d_mlp": 64},
        training={"steps": 5000, "until_grokked": 30, "learning_rate": 1e-2},
    )
    run = train(tmp_path / "run", easy)
    assert run.t_gen is not None
    assert run.t_gen + 30 <= run.steps[-1] < run.t_gen + 30 + 50
    assert run.finished


def test_pruned_weights_stay_exactly_zero(masked_run: Run) -> None:
    mask = masked_run.mask
    assert mask is not None
    for step in masked_run.steps:
        for name, weight in masked_run.checkpoint(step).weights.items():
            assert weight[~mask[name]].abs().max() == 0
            assert (weight[mask[name]] != 0).all()


def test_an_absent_device_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(UserError, match="CUDA"):
        train(tmp_path / "run", config(), device="cuda")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_the_paper_mlp_groks(tmp_path: Path, seed: int) -> None:
    """t_mem near 100 and t_gen over 10,000, as published (v2, table 1: 21,497)."""
    run = train(
        tmp_path / "run", RunConfig.make(seed=seed, task={"name": "add", "split_seed": seed})
    )
    assert run.t_mem is not None
    assert 50 <= run.t_mem <= 150
    assert run.t_gen is not None
    assert run.t_gen > 10_000


@pytest.mark.parametrize("how", ["deleted", "emptied", "moved", "replaced"])
def test_a_training_whose_folder_is_gone_ends_at_the_next_evaluation(
    how: str, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    seen: list[float] = []

    def watch(model: object, row: dict[str, float]) -> None:
        seen.append(row["step"])
        if row["step"] != 20:
            return
        if how == "emptied":
            for file in folder.iterdir():
                file.unlink()
        elif how == "deleted":
            shutil.rmtree(folder)
        else:
            folder.rename(tmp_path / "away")
            if how == "replaced":
                shutil.copytree(tmp_path / "away", folder)

    with pytest.raises(ExternalError, match=f"{folder} "):
        train(folder, config(steps=500, checkpoint_every=400), watch=watch)
    assert seen[-1] == 20


def test_a_run_whose_progress_cannot_be_shown_is_sound_and_goes_on(tmp_path: Path) -> None:
    def full(row: dict[str, float]) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        train(tmp_path / "run", config(), progress=full)
    assert verify(tmp_path / "run") == []
    assert resume(tmp_path / "run").finished
