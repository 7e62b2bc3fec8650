"""Verifying that a run on disk is intact."""

import os
from pathlib import Path

from mechgrok.errors import UserError
from mechgrok.global_state import in_neutral_state
from mechgrok.runs.checkpoint import checkpoint_file, checkpoints, read_checkpoint, weight_shapes
from mechgrok.runs.folder import MADE, MOVING
from mechgrok.runs.run import Run
from mechgrok.runs.state import BEFORE, NEWEST, read_one, read_state
from mechgrok.tensors import DIGEST, header


@in_neutral_state
def verify(run: "Run | str | Path") -> list[str]:
    """Read an entire run and describe each problem in a sentence; an intact run has none.

    Compares every value of the checkpoints and resume states with the files' digests. All
    checkpoints must hold the same weights in the same shapes, and each needs a row in the metrics.
    Opening a run, in contrast, checks sizes only.

    A run can be verified while it trains: only problems that a second check confirms are reported,
    because a file may be replaced, or a row written, during the first. Missing data of a killed
    process are not reported, because `resume` writes them again.

    Raises:
        UserError: the folder holds no run.
    """
    run = run if isinstance(run, Run) else Run(run)
    unlocked = run.is_unlocked
    problems = _problems(run)
    if problems and not (unlocked and run.is_unlocked):
        confirmed = _problems(run.refreshed())
        problems = [problem for problem in problems if problem in confirmed]
    return problems


def _problems(run: Run) -> list[str]:
    problems = []
    if any((run.path / name).is_dir() for name in (MADE, MOVING)):
        problems.append(f"Replacing {run.path} was interrupted.")
    shapes: dict[str, list[int]] = {}
    for step in checkpoints(run.path):
        path = checkpoint_file(run.path, step)
        if not os.path.lexists(path):  # The training process has just deleted it (--keep).
            continue
        try:
            read_checkpoint(run.path, step, check=True)
            current = weight_shapes(run.path, step)
        except UserError as error:
            problems.append(str(error))
            continue
        if current != (shapes := shapes or current):
            problems.append(f"{path} holds other weights than the checkpoints before it.")
    for state in (run.path / NEWEST, run.path / BEFORE):
        try:
            if state.is_file():
                read_one(state)
        except UserError as error:
            problems.append(str(error))
    return problems + _without_metrics(run)


def undigested(run: Run) -> list[int]:
    """The steps whose checkpoints have no digest; version 0.1 wrote such files."""
    headers = {s: header(run.file(s)) for s in run.steps if os.path.lexists(run.file(s))}
    return [
        step for step, fields in headers.items() if DIGEST not in fields.get("__metadata__", {})
    ]


def _without_metrics(run: Run) -> list[str]:
    try:
        rows = set(run.metrics.step)
    except UserError as error:
        return [str(error)]
    unwritten = _unwritten(run)
    return [
        f"{run.path / 'metrics.csv'} has no row for step {step}, which has a checkpoint."
        for step in run.steps
        if step not in rows and step != unwritten
    ]


def _unwritten(run: Run) -> int | None:
    """The newest step, if its checkpoint exists and its metrics and resume state do not yet."""
    if run.imported or not run.steps:
        return None
    try:
        at, _ = read_state(run.path)
    except UserError:
        return None
    newest, has_state = run.steps[-1], (run.path / NEWEST).exists()
    return newest if at != newest or not has_state else None
