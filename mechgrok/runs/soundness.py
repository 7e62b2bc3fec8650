"""Whether a run on disk still holds what was written."""

from pathlib import Path

from mechgrok.errors import UserError
from mechgrok.global_state import in_neutral_state
from mechgrok.runs.checkpoint import checkpoint_file, checkpoints, read_checkpoint, weight_shapes
from mechgrok.runs.folder import MADE, MOVING
from mechgrok.runs.run import Run
from mechgrok.runs.state import BEFORE, NEWEST, read_one
from mechgrok.tensors import DIGEST, header


@in_neutral_state
def verify(run: "Run | str | Path") -> list[str]:
    """Read all of a run and say what is wrong with it, a sentence each; nothing where it is sound.

    Every value of every checkpoint, and of the states to go on from, is compared with the digest
    that was written with it. Checkpoints must hold the same weights in the same shapes, and each
    must have its row in the metrics. Opening a run checks sizes only.

    Raises:
        UserError: there is no run.
    """
    run = run if isinstance(run, Run) else Run(run)
    problems = []
    if any((run.path / name).is_dir() for name in (MADE, MOVING)):
        problems.append(f"{run.path} was being replaced when that was interrupted.")
    shapes: dict[str, list[int]] = {}
    for step in checkpoints(run.path):
        path = checkpoint_file(run.path, step)
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
    files = {step: header(run.file(step)) for step in run.steps}
    return [step for step, found in files.items() if DIGEST not in found.get("__metadata__", {})]


def _without_metrics(run: Run) -> list[str]:
    try:
        rows = set(run.metrics.step)
    except UserError as error:
        return [str(error)]
    return [
        f"{run.path / 'metrics.csv'} has no row for step {step}, which has a checkpoint."
        for step in run.steps
        if step not in rows
    ]
