"""``--keep`` thins a run's checkpoints out as it goes, and all that needs them works or says so."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from mechgrok.configuration.run_config import RunConfig
from mechgrok.configuration.schedule import checkpoint_steps, log_spaced
from mechgrok.derived import train_ticket
from mechgrok.errors import UserError
from mechgrok.runs import Run
from mechgrok.runs.soundness import verify
from mechgrok.runs.state import BEFORE
from mechgrok.training import Interrupted, resume, resume_together, train, train_together


def config(**training: Any) -> RunConfig:
    return RunConfig.make(
        task={"name": "add", "p": 7, "train_fraction": 0.7},
        model={"kind": "mlp", "d_model": 12, "d_mlp": 8},
        training={"steps": 100, "checkpoint_every": 10, "keep": 6} | training,
    )


SELECTED = sorted(log_spaced(checkpoint_steps(100, 10), 6))


def test_a_run_keeps_so_many_checkpoints_the_first_and_the_last_among_them(tmp_path: Path) -> None:
    run = train(tmp_path / "run", config(), device="cpu")
    assert run.steps == SELECTED
    assert (len(run.steps), run.steps[0], run.steps[-1]) == (6, 0, 100)
    whole = train(tmp_path / "whole", config(keep=None), device="cpu")
    for step in run.steps:
        assert run.file(step).read_bytes() == whole.file(step).read_bytes()
    assert run.metrics.equals(whole.metrics)
    assert run.finished
    assert verify(run) == []


def test_steps_that_are_asked_for_are_kept_too(tmp_path: Path) -> None:
    run = train(tmp_path / "run", config(checkpoint_at=[7, 33]), device="cpu")
    assert {7, 33} < set(run.steps)
    assert len(run.steps) <= 8


def test_a_run_on_its_way_can_go_on_from_either_of_the_newest_two(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", config(), device="cpu")

    def interrupt(row: dict[str, float]) -> None:
        if row["step"] == 80:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        train(tmp_path / "parts", config(), device="cpu", progress=interrupt)
    broken = Run(tmp_path / "parts")
    assert broken.steps[-2:] == [70, 80]
    assert set(broken.steps[:-2]) <= set(SELECTED)
    broken.file(80).write_bytes(b"")  # torn
    parts = resume(tmp_path / "parts", device="cpu")
    assert parts.steps == SELECTED
    assert parts.file(100).read_bytes() == whole.file(100).read_bytes()
    assert (parts.path / BEFORE).exists() == (90 in SELECTED)


def test_members_trained_together_keep_theirs(tmp_path: Path) -> None:
    members = {tmp_path / str(keep): config(keep=keep) for keep in (6, 3)}
    train_together(members, device="cpu")
    assert [len(Run(path).steps) for path in members] == [6, 3]
    resume_together(list(members), device="cpu")


def test_a_run_that_is_trained_longer_keeps_what_one_of_that_length_would(tmp_path: Path) -> None:
    train(tmp_path / "run", config(), device="cpu")
    longer = resume(tmp_path / "run", steps=200, checkpoint_every=10, device="cpu")
    assert set(longer.steps) <= log_spaced(checkpoint_steps(200, 10), 6)
    assert longer.steps[-1] == 200


def test_a_ticket_works_or_names_the_step_that_is_gone(tmp_path: Path) -> None:
    run = train(tmp_path / "run", config(), device="cpu")
    ticket = train_ticket(run, tmp_path / "ticket", rate=0.3, device="cpu")
    assert ticket.steps == SELECTED
    gone = next(step for step in range(10, 100, 10) if step not in SELECTED)
    with pytest.raises(UserError, match=f"step {gone}.*nearest"):
        train_ticket(run, tmp_path / "other", rate=0.3, at=gone, device="cpu")
