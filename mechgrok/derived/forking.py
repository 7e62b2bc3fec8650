"""Forks: runs that share another run's first steps and continue with one phase more."""

from pathlib import Path
from typing import Any

from mechgrok.configuration.keywords import checked
from mechgrok.configuration.origins import At, ForkOrigin
from mechgrok.configuration.phase import Phase, short_name
from mechgrok.configuration.run_config import RunConfig
from mechgrok.configuration.settings import trust_and_normalize
from mechgrok.configuration.training import FIXED, TrainingConfig, phases_in
from mechgrok.derived.children import (
    changed_training,
    for_each_run,
    relative_path,
    resolve_step,
)
from mechgrok.errors import UserError
from mechgrok.global_state import in_neutral_state
from mechgrok.runs import Run, RunLike, open_run
from mechgrok.runs.folder import check_room
from mechgrok.runs.lock import writing
from mechgrok.runs.state import before_the_newest, read_state
from mechgrok.training import create_run
from mechgrok.training.following import with_schedules
from mechgrok.training.loop import resume
from mechgrok.training.machine import find_device
from mechgrok.training.optimizer_state import carried_state
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
    **settings: Any,
) -> Run:
    """Continue a run from one of its steps, with other settings, in the folder ``out``.

    A fork is the run with one `Phase` more, which begins at the step ``at``. It has the parent's
    checkpoints and metrics up to there, and counts its steps like the parent. The optimizer's state
    carries over, as into any phase, if the parent still has it at that step (that of the newest
    checkpoint); ``origin.optimizer_state`` tells whether it did.

    Args:
        parent: the run to continue; or a sweep, to continue each of its runs in ``out/NAME``.
        out: the fork's folder; absent or empty.
        at: the parent's step.
        overwrite: replace the run in ``out``.
        device: "auto", "cpu" or "cuda".
        progress: as for `mechgrok.train`.
        settings: settings that differ from the parent's from that step on. ``steps`` is the number
            of steps after it; default: the parent's number of steps. ``phases`` are later ones;
            default: the parent's.

    Raises:
        UserError: the step has no checkpoint, a setting cannot change during training, or ``out``
            cannot be used.
    """
    parent = open_run(parent)
    device = find_device(device)
    out, step = Path(out), resolve_step(parent, at)
    if out.resolve() == parent.path.resolve():
        raise UserError(f"{out} is the parent itself: choose another folder with --out.")
    shared = parent.config.model_dump(mode="json", include={"task", "model", "seed"})
    training = _training(parent, step, settings)
    origin = ForkOrigin(parent=relative_path(parent, out), step=step)
    config = RunConfig.make(**shared, training=training, popup=parent.config.popup, origin=origin)
    config = with_schedules(config, parent)
    before, after = (config.at(max(0, last)).recipe for last in (step - 1, step))
    state = carried_state(_state_at(parent, step), before, after)
    origin = origin.model_copy(update={"optimizer_state": bool(state)})
    config = config.model_copy(update={"origin": origin})
    check_room(out, overwrite=overwrite)
    with writing(out):
        create_run(
            out, config, parent.checkpoint(step), state=state, before=parent, overwrite=overwrite,
            device=device,
        )  # fmt: skip
        return resume(out, device=device, progress=progress)


def _training(parent: Run, step: int, settings: dict[str, Any]) -> dict[str, Any]:
    """The parent's training settings with a phase at ``step``, unless no setting changes."""
    changes = {short_name(name): trust_and_normalize(name, v) for name, v in settings.items()}
    of_run = {name: changes.pop(name) for name in FIXED & changes.keys()}
    inherited = parent.config.training.phases if parent.config.training else ()
    later = phases_in(of_run.pop("phases")) if "phases" in of_run else inherited
    phases: dict[int, dict[str, Any]] = {p.at: p.settings for p in inherited if p.at <= step}
    for phase in [*later, *phases_in({"at": step, **changes} if changes else None)]:
        if phase.at >= step:
            phases[phase.at] = phases.get(phase.at, {}) | phase.settings
        elif phase not in inherited:
            raise UserError(
                f"The phase at step {phase.at:,} is before the fork's first step, {step:,}: let it "
                "begin there or later."
            )
    own = changed_training(parent, of_run) | {"phases": ()}
    training = checked(TrainingConfig, own, "fork").model_dump(mode="json")
    listed = [Phase(at=begin, **values) for begin, values in phases.items()]
    training["checkpoint_at"].append(step)  # Without changes no phase begins there.
    return training | {"steps": step + training["steps"], "phases": listed}


def _state_at(parent: Run, step: int) -> dict[str, Any]:
    """The parent's optimizer state at ``step``; empty if it was not kept."""
    try:
        states = [read_state(parent.path), before_the_newest(parent.path)]
    except UserError:
        return {}
    return next((state for saved_step, state in states if saved_step == step), {})
