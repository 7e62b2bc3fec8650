"""Tickets, iterative pruning and edge-popup can be gone on with, by the same words."""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mechgrok.derived.edge_popup import train_popup
from mechgrok.derived.tickets import train_ticket
from mechgrok.errors import UserError
from mechgrok.runs import Run
from mechgrok.training import Interrupted

IMP: dict[str, Any] = {"method": "imp", "rate": 0.6, "rounds": 3, "steps": 10}


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


def interrupt_at(n: int) -> Callable[[dict[str, float]], None]:
    """Ctrl-C at the n-th evaluation."""
    seen = 0

    def progress(row: dict[str, float]) -> None:
        nonlocal seen
        seen += 1
        if seen == n:
            os.kill(os.getpid(), signal.SIGINT)

    return progress


@pytest.mark.parametrize("evaluation", [1, 6, 9, 14])
def test_iterative_pruning_goes_on_from_the_rounds_that_exist(
    tiny_run: Run, tmp_path: Path, evaluation: int
) -> None:
    whole = train_ticket(tiny_run, tmp_path / "whole" / "imp", **IMP)
    parts = tmp_path / "parts" / "imp"
    with pytest.raises(Interrupted):
        train_ticket(tiny_run, parts, progress=interrupt_at(evaluation), **IMP)
    finished = {
        file: file.stat().st_mtime_ns
        for folder in parts.parent.iterdir()
        if Run(folder).finished
        for file in folder.iterdir()
    }
    train_ticket(tiny_run, parts, resume=True, **IMP)
    for name in ("imp-round-1", "imp-round-2", "imp"):
        assert contents(parts.with_name(name)) == contents(whole.path.with_name(name))
    assert all(file.stat().st_mtime_ns == time for file, time in finished.items())


def test_a_taken_folder_is_refused_before_any_round(tiny_run: Run, tmp_path: Path) -> None:
    shutil.copytree(tiny_run.path, tmp_path / "imp")
    with pytest.raises(UserError, match="--overwrite"):
        train_ticket(tiny_run, tmp_path / "imp", **IMP)
    assert [folder.name for folder in tmp_path.iterdir()] == ["imp"]


@pytest.mark.parametrize("stranger", ["another run", "another rate", "another parent"])
def test_a_round_of_something_else_is_not_taken_for_ours(
    tiny_run: Run, tmp_path: Path, stranger: str
) -> None:
    first = tmp_path / "imp-round-1"
    if stranger == "another run":
        shutil.copytree(tiny_run.path, first)
    elif stranger == "another rate":
        train_ticket(tiny_run, first, rate=0.3, steps=10)
    else:
        train_ticket(tiny_run, first, rate=1 - 0.4 ** (1 / 3), steps=10)
        changed = Run(first).checkpoint(0)
        changed.weights["W_in"][0, 0] += 1
        from mechgrok.runs.checkpoint import write_checkpoint

        write_checkpoint(first, changed)
    before = contents(first)
    with pytest.raises(UserError, match="--overwrite"):
        train_ticket(tiny_run, tmp_path / "imp", **IMP)
    assert contents(first) == before
    assert train_ticket(tiny_run, tmp_path / "imp", overwrite=True, **IMP).finished


@pytest.mark.parametrize("make", [train_ticket, train_popup])
def test_the_same_words_go_on(tiny_run: Run, tmp_path: Path, make: Any) -> None:
    options: dict[str, Any] = {"steps": 20, "checkpoint_every": 10, "at": 60, "rate": 0.5}
    whole = make(tiny_run, tmp_path / "whole", **options)
    parts = tmp_path / "parts"
    with pytest.raises(Interrupted):
        make(tiny_run, parts, progress=interrupt_at(3), **options)
    with pytest.raises(UserError, match="--overwrite"):
        make(tiny_run, parts, **options)
    with pytest.raises(UserError, match="--overwrite"):
        make(tiny_run, parts, resume=True, **options | {"rate": 0.4})
    make(tiny_run, parts, resume=True, **options)
    assert contents(parts) == contents(whole.path)
