"""What runs that are made from a run have in common: where they begin, what they inherit."""

import os
from pathlib import Path
from typing import Any

import torch

from mechgrok.configuration.origins import At, ImportOrigin
from mechgrok.configuration.run_config import RunConfig
from mechgrok.errors import UserError, warn
from mechgrok.models import HookedModel
from mechgrok.runs import Checkpoint, Run
from mechgrok.runs.folder import finish_replacing, is_run
from mechgrok.training import create_run, loop
from mechgrok.training.recorder import Shown, snapshot


def resolve_step(run: Run, at: At) -> int:
    """The step of the checkpoint that ``at`` names.

    Raises:
        UserError: that step has no checkpoint (the nearest is named), or was never reached.
    """
    if isinstance(at, int):
        if at == 0 and run.imported is not None:
            _check_start_is_known(run, run.imported)
        return run.select([at])[0]
    if at == "last":
        return run.select([-1])[0]
    if run.caveat is not None:
        raise UserError(
            f"When {run.path} memorized and generalized is not known, because {run.caveat}: name a "
            "step with --at."
        )
    reached = _fully_memorized(run) if at == "mem" else run.t_gen
    later = [step for step in run.steps if reached is not None and step >= reached]
    if not later:
        what = "memorized its training set" if at == "mem" else "generalized"
        raise UserError(
            f"{run.path} never {what} up to its last checkpoint at step {run.steps[-1]}: train it "
            "for longer, or name a step with --at."
        )
    return later[0]


def _check_start_is_known(run: Run, origin: ImportOrigin) -> None:
    """Refuse the initial weights of a run that was imported without them."""
    if 0 in run.steps and origin.steps_known:
        return
    lacking = (
        f"its checkpoints begin at step {run.steps[0]}"
        if origin.steps_known
        else "the step of its weights is not known"
    )
    raise UserError(
        f"{run.path} was imported without its initial weights, {lacking}: import the file of step "
        "0 too, begin at a step that is there (--rewind), or from fresh weights (--reinit)."
    )


def _fully_memorized(run: Run) -> int | None:
    """The first evaluated step with every training example right; t_mem where loss decides."""
    if run.task.train_criterion.quantity != "accuracy":
        return run.t_mem
    all_right = run.metrics.step[run.metrics.train_accuracy == 1]
    return None if all_right.empty else int(all_right.iloc[0])


def child_config(parent: Run, training: dict[str, Any], **fields: Any) -> RunConfig:
    """The parent's configuration with other training settings and an origin."""
    inherited = changed_training(parent, training)
    kept = parent.config.model_dump(mode="json", include={"task", "model", "seed"})
    config = RunConfig.make(**kept, training=inherited, **fields)
    if parent.config.training is None:
        _tell_what_is_assumed(parent, config, inherited)
    return config


def changed_training(parent: Run, training: dict[str, Any]) -> dict[str, Any]:
    """The training settings of a run that is made from ``parent``, with others for some.

    What stopped the parent early does not stop this run.
    """
    inherited = parent.config.inherited_training()
    inherited.pop("until_grokked", None)
    if "steps" in training:  # as many checkpoints as a run of that length has by itself
        inherited.pop("checkpoint_every", None)
    return inherited | training


def _tell_what_is_assumed(parent: Run, config: RunConfig, known: dict[str, Any]) -> None:
    """Say which settings of a run that is made from an imported one are defaults of ours."""
    decisive = ("optimizer", "learning_rate", "weight_decay", "batch_size", "steps")
    assumed = {name: getattr(config.recipe, name) for name in decisive if name not in known}
    if assumed:
        told = ", ".join(
            f"{name.replace('_', ' ')} {'all' if value is None else value}"
            for name, value in assumed.items()
        )
        warn(
            f"{parent.path} was imported, and not all is known of how it was trained; assumed are "
            f"{told}."
        )
    if parent.caveat is not None:
        warn(
            f"{parent.path} was imported, and {parent.caveat}: its weights, and a mask made of "
            "them, may have seen what is the test set here."
        )


def relative_path(parent: Run, out: str | Path) -> str:
    """The parent's folder as ``config.origin.parent`` names it: relative to the child's."""
    return os.path.relpath(parent.path.resolve(), Path(out).resolve())


def train_child(
    parent: Run,
    out: str | Path,
    config: RunConfig,
    model: HookedModel,
    overwrite: bool,
    resume: bool,
    train: bool,
    device: str,
    progress: Shown,
) -> Run:
    """Train a run that is made from another: anew, or on, where ``out`` holds this very run.

    Raises:
        UserError: ``out`` is the parent's folder, or taken.
    """
    path, start = Path(out), snapshot(model, 0)
    if path.resolve() == parent.path.resolve():
        raise UserError(f"{out} is the parent itself: choose another folder with --out.")
    if resume:
        finish_replacing(path)
        if is_run(path) and _is_same(Run(path), config, start):
            return loop.resume(path, device=device, progress=progress)
        if is_run(path) and not overwrite:
            raise UserError(
                f"{out} holds another run than the one asked for, so it cannot be resumed as that: "
                "replace it (--overwrite), or choose another folder with --out."
            )
    if not train:
        return create_run(path, config, start, overwrite=overwrite)
    return loop.train(
        path, config, start=start, overwrite=overwrite, device=device, progress=progress
    )


def _is_same(run: Run, config: RunConfig, start: Checkpoint) -> bool:
    """Whether a run is the one that ``config`` and ``start`` make, finished or not."""
    settings = (each.model_dump_json(exclude={"versions"}) for each in (run.config, config))
    if len(set(settings)) > 1 or 0 not in run.steps:
        return False
    saved = run.checkpoint(0)
    parts = ((saved.weights, start.weights), (saved.scores, start.scores))
    return saved.mask == start.mask and all(
        ours.keys() == theirs.keys()
        and all(torch.equal(tensor, theirs[name].cpu()) for name, tensor in ours.items())
        for ours, theirs in parts
    )
