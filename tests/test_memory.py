"""What cannot fit into the machine is refused before anything is made."""

from pathlib import Path

import pytest
import torch

from mechgrok.configuration.run_config import RunConfig
from mechgrok.derived import train_popup
from mechgrok.errors import UserError
from mechgrok.runs import Run
from mechgrok.training import evaluate, evaluation, memory, train
from mechgrok.training.memory import check_memory, memory_of


def config(p: int = 7, d_mlp: int = 8, **training: int) -> RunConfig:
    model = {"kind": "mlp", "d_model": 12, "d_mlp": d_mlp}
    return RunConfig.make(task={"name": "add", "p": p}, model=model, training=training)


def test_examples_weights_and_a_step_are_counted() -> None:
    counted = memory_of(config())
    assert counted["examples"] == 28 * (2 + 1) * 8
    # θ, its gradient and two moments, of W_E and W_U (7 × 12) and of W_in and W_out (12 × 8).
    assert counted["weights"] == (2 * 7 * 12 + 2 * 12 * 8) * 4 * 4
    assert counted["activations"] > 0


def test_what_is_too_large_is_refused_with_its_sizes(tmp_path: Path) -> None:
    check_memory(config())
    with pytest.raises(UserError, match=r"100000.* TB .*activations"):
        train(tmp_path / "run", config(p=100_000))
    with pytest.raises(UserError, match=r"TB .*weights"):
        check_memory(RunConfig.make(model={"d_mlp": 10**7, "n_layers": 1000}))
    assert not list(tmp_path.iterdir())


def test_on_a_gpu_its_memory_counts_and_the_machines_for_the_examples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (0, 10**6))
    with pytest.raises(UserError, match=r"GPU .*1 MB"):
        train(tmp_path / "run", config(d_mlp=10_000), device="cuda")
    check_memory(config(d_mlp=10_000), "cpu")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (0, 10**15))
    monkeypatch.setattr(memory, "machine_memory", lambda: 28 * (2 + 1) * 8)
    check_memory(config(d_mlp=10_000), "cuda")
    with pytest.raises(UserError, match=r"2 kB .*examples.*machine"):
        check_memory(config(p=11), "cuda")
    assert not list(tmp_path.iterdir())


def test_batches_take_less() -> None:
    assert (
        memory_of(config(p=997, batch_size=64))["activations"]
        < memory_of(config(p=997))["activations"]
    )


def test_a_wider_network_is_counted_too(
    tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "machine_memory", lambda: 2_000_000)
    with pytest.raises(UserError, match=r"machine .*2 MB"):
        train_popup(tiny_run, tmp_path / "wide", at=0, width=100, steps=1)


def test_an_evaluation_in_parts_is_the_same(tiny_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    model, task = tiny_run.model(), tiny_run.task
    sides = [
        task.train._replace(inputs=model.encode(task.train.inputs)),
        task.test._replace(inputs=model.encode(task.test.inputs)),
    ]
    whole = evaluate(model, task, *sides)
    monkeypatch.setattr(evaluation, "OUTPUTS_AT_ONCE", 5 * task.d_output)
    assert evaluate(model, task, *sides) == pytest.approx(whole, rel=1e-6)
