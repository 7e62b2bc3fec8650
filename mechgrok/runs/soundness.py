"""Whether a run on disk still holds what was written."""

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
    """Read all of a run and say what is wrong with it, a sentence each; nothing where it is sound.

    Every value of every checkpoint, and of the states to go on from, is compared with the digest
    that was written with it. Checkpoints must hold the same weights in the same shapes, and each
    must have its row in the metrics. Opening a run checks sizes only.

    A run may be verified while it trains. What is wrong in passing (a file that is replaced, a
    checkpoint whose row is being written) is not damage: all is looked at again, and what is still
    wrong then is. Nor is what a process that was killed had not yet written, as `resume` makes it
    again.

    Raises:
        UserError: there is no run.
    """
    run = run if isinstance(run, Run) else Run(run)
    unlocked = run.is_unlocked
    problems = _problems(run)
    if problems and not (unlocked and run.is_unlocked):
        again = _problems(run.refreshed())
        problems = [problem for problem in problems if problem in again]
    return problems


def _problems(run: Run) -> list[str]:
    problems = []
    if any((run.path / name).is_dir() for name in (MADE, MOVING)):
        problems.append(f"{run.path} was being replaced when that was interrupted.")
    shapes: dict[str, list[int]] = {}
    for step in checkpoints(run.path):
        path = checkpoint_file(run.path, step)
        if not os.path.lexists(path):  # A training that keeps fewer has deleted it meanwhile.
            continue
        try:
            read_checkpoint(run.path, step, check=True)
            found = weight_shapes(run.path, step)
        except UserError as error:
            problems.append(str(error))
            continue
        if found != (shapes := shapes or found):
            problems.append(f"{path} holds other weights than the checkpoints before it.")
    for state in (run.path / NEWEST, run.path / BEFORE):
        try:
            if state.is_file():
                read_one(state)
        except UserError as error:
            problems.append(str(error))
    return problems + _without_metrics(run)


def undigested(run: Run) -> list[int]:
    """The steps whose checkpoints carry no digest, as version 0.1 wrote them."""
    there = [step for step in run.steps if os.path.lexists(run.file(step))]
    files = {step: header(run.file(step)) for step in there}
    return [step for step, found in files.items() if DIGEST not in found.get("__metadata__", {})]


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
    """The step whose checkpoint is there, and whose row and state are not yet: that of the newest,
    where the state to go on from is another's."""
    if run.imported or not run.steps:
        return None
    try:
        at, _ = read_state(run.path)
    except UserError:
        return None
    newest, begun = run.steps[-1], (run.path / NEWEST).exists()
    return newest if at != newest or not begun else None
