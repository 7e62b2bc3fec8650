"""Forks: new runs that continue a run from one of its steps with other settings."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from mechgrok.configuration.keywords import split_options
from mechgrok.configuration.origins import At, ForkOrigin
from mechgrok.configuration.run_config import RunConfig
from mechgrok.derived.children import (
    changed_training,
    for_each_run,
    relative_path,
    resolve_step,
)
from mechgrok.errors import UserError
from mechgrok.global_state import in_neutral_state
from mechgrok.optimization.constraints.applied import MEMORY
from mechgrok.optimization.transforms.chain import STATE, without
from mechgrok.runs import Run, RunLike, open_run
from mechgrok.runs.checkpoint import Checkpoint
from mechgrok.runs.folder import check_room
from mechgrok.runs.lock import writing
from mechgrok.runs.state import read_state
from mechgrok.training import create_run
from mechgrok.training.loop import resume
from mechgrok.training.machine import find_device
from mechgrok.training.recorder import Shown


@for_each_run
@in_neutral_state
def fork(
    parent: RunLike,
    out: str | Path,
    *,
    at: At = "last",
    overwrite: bool = False,
    device: str = "auto",
    progress: Shown = "auto",
    **training: Any,
) -> Run:
    """Continue a run from one of its steps, with other training settings, in the folder ``out``.

    The fork's step 0 is the parent's step ``at``: the same weights, mask and edge-popup scores. The
    optimizer's state is copied if it is the same optimizer and the parent still has its state at
    that step (that of the newest checkpoint); ``origin.optimizer_state`` tells whether it was.

    Args:
        parent: the run to continue; or a sweep, to continue each of its runs in ``out/NAME``.
        out: the fork's folder; absent or empty.
        at: the parent's step.
        overwrite: replace the run in ``out``.
        device: "auto", "cpu" or "cuda".
        progress: as for `mechgrok.train`.
        training: training settings that differ from the parent's.

    Raises:
        UserError: the step has no checkpoint, or ``out`` cannot be used.
    """
    parent = open_run(parent)
    _, training = split_options(training, BaseModel, "A fork")
    device = find_device(device)
    out, step = Path(out), resolve_step(parent, at)
    if out.resolve() == parent.path.resolve():
        raise UserError(f"{out} is the parent itself: choose another folder with --out.")
    shared = parent.config.model_dump(mode="json", include={"task", "model", "seed"})
    training = changed_training(parent, training)
    origin = ForkOrigin(parent=relative_path(parent, out), step=step)
    config = RunConfig.make(**shared, training=training, popup=parent.config.popup, origin=origin)
    state = _state_at(parent, step, config)
    origin = origin.model_copy(update={"optimizer_state": bool(state)})
    config = config.model_copy(update={"origin": origin})
    saved = parent.checkpoint(step)
    start = Checkpoint(0, saved.weights, saved.mask, saved.scores)
    check_room(out, overwrite=overwrite)
    with writing(out):
        create_run(out, config, start, state=state, overwrite=overwrite, device=device)
        return resume(out, device=device, progress=progress)


def _state_at(parent: Run, step: int, config: RunConfig) -> dict[str, Any]:
    """The parent's optimizer state at ``step``; empty if unavailable or of another optimizer."""
    before = parent.config.training
    if before is None or before.optimizer.name != config.recipe.optimizer.name:
        return {}
    try:
        saved_step, state = read_state(parent.path)
    except UserError:
        return {}
    if saved_step != step:
        return {}
    after = config.recipe
    same_transforms = [t.name for t in before.transforms] == [t.name for t in after.transforms]
    dropped = [] if same_transforms else [STATE]
    dropped += [] if before.constraints == after.constraints else [MEMORY]
    return without(state, dropped)
