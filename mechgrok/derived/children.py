"""Common parts of derived runs: their starting step and inherited settings."""

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, cast, overload

import torch

from mechgrok.configuration.origins import At, ImportOrigin
from mechgrok.configuration.run_config import RunConfig
from mechgrok.errors import UserError, warn
from mechgrok.models import HookedModel
from mechgrok.runs import Checkpoint, Run, RunCollection, RunLike
from mechgrok.runs.folder import finish_replacing, is_run
from mechgrok.training import create_run, loop
from mechgrok.training.following import with_schedules
from mechgrok.training.recorder import Shown, snapshot


def resolve_step(run: Run, at: At) -> int:
    """The step of the checkpoint named by ``at``.

    Raises:
        UserError: the step has no checkpoint (the message names the nearest) or was never reached.
    """
    if isinstance(at, int):
        if at == 0 and run.imported is not None:
            _check_start_is_known(run, run.imported)
        return run.select([at])[0]
    if at == "last":
        return run.select([-1])[0]
    if run.caveat is not None:
        raise UserError(
            f"{run.path} has no known t_mem and t_gen, because {run.caveat}: choose a step with "
            "--at."
        )
    reached = _fully_memorized(run) if at == "mem" else run.t_gen
    later = [step for step in run.steps if reached is not None and step >= reached]
    if not later:
        event = "memorized its training set" if at == "mem" else "generalized"
        raise UserError(
            f"{run.path} never {event} up to its last checkpoint at step {run.steps[-1]}: train it "
            "for longer, or choose a step with --at."
        )
    return later[0]


def _check_start_is_known(run: Run, origin: ImportOrigin) -> None:
    """Raise an error if a run was imported without its initial weights."""
    if 0 in run.steps and origin.steps_known:
        return
    reason = (
        f"its checkpoints begin at step {run.steps[0]}"
        if origin.steps_known
        else "the step of its weights is unknown"
    )
    raise UserError(
        f"{run.path} was imported without its initial weights ({reason}): import the file of step "
        "0 too, choose another step (--rewind), or start from fresh weights (--reinit)."
    )


def _fully_memorized(run: Run) -> int | None:
    """The first evaluated step with a training accuracy of 1; t_mem if loss is the criterion."""
    if run.task.train_criterion.quantity != "accuracy":
        return run.t_mem
    perfect = run.metrics.step[run.metrics.train_accuracy == 1]
    return None if perfect.empty else int(perfect.iloc[0])


def child_config(parent: Run, training: dict[str, Any], **fields: Any) -> RunConfig:
    """The parent's configuration with other training settings and some other parts."""
    inherited = changed_training(parent, training)
    shared = parent.config.model_dump(mode="json", include={"task", "model", "seed"})
    config = with_schedules(RunConfig.make(**shared | fields, training=inherited), parent)
    if parent.config.training is None:
        _warn_of_assumptions(parent, config, inherited)
    return config


def changed_training(parent: Run, training: dict[str, Any]) -> dict[str, Any]:
    """The parent's training settings, updated with ``training``; until_grokked is not inherited."""
    inherited = parent.config.inherited_training()
    inherited.pop("until_grokked", None)
    if "steps" in training:  # The new length sets the interval of checkpoints.
        inherited.pop("checkpoint_every", None)
    return inherited | training


def _warn_of_assumptions(parent: Run, config: RunConfig, known: dict[str, Any]) -> None:
    """Warn of default settings in a run derived from an imported one."""
    decisive = ("optimizer", "learning_rate", "weight_decay", "batch_size", "steps")
    assumed = {name: getattr(config.recipe, name) for name in decisive if name not in known}
    if assumed:
        shown = ", ".join(
            f"{name.replace('_', ' ')} {'all' if value is None else value}"
            for name, value in assumed.items()
        )
        warn(
            f"{parent.path} was imported and some of its training settings are unknown; assumed: "
            f"{shown}."
        )
    if parent.caveat is not None:
        warn(
            f"{parent.path} was imported, and {parent.caveat}: its weights, and masks from them, "
            "may depend on this run's test set."
        )


P = ParamSpec("P")


class Derive(Protocol[P]):
    """A function that makes a run from a run, or runs from several."""

    @overload
    def __call__(
        self, parent: RunLike, out: str | Path, *args: P.args, **kwargs: P.kwargs
    ) -> Run: ...

    @overload
    def __call__(
        self, parent: RunCollection, out: str | Path, *args: P.args, **kwargs: P.kwargs
    ) -> dict[str, Run]: ...


def for_each_run(derive: Callable[Concatenate[RunLike, str | Path, P], Run]) -> Derive[P]:
    """Decorator: with a sweep as its parent, derive a run from each of its runs.

    Each has its parent's name in the folder ``out``; they are returned by name.
    """

    @wraps(derive)
    def derived(
        parent: RunLike | RunCollection, out: str | Path, *args: P.args, **kwargs: P.kwargs
    ) -> Run | dict[str, Run]:
        if not isinstance(parent, RunCollection):
            return derive(parent, out, *args, **kwargs)
        return {
            name: derive(run, Path(out) / name, *args, **kwargs)
            for name, run in parent.runs.items()
        }

    return cast(Derive[P], derived)


def relative_path(parent: Run, out: str | Path) -> str:
    """The parent's folder relative to the child's, for ``config.origin.parent``."""
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
    """Train a derived run; with ``resume``, continue it if ``out`` holds the same run.

    Raises:
        UserError: ``out`` is the parent's folder, or holds something else.
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
                f"{out} holds a different run, which cannot be resumed as this one: replace it "
                "(--overwrite), or choose another folder with --out."
            )
    if not train:
        return create_run(path, config, start, overwrite=overwrite)
    return loop.train(
        path, config, start=start, overwrite=overwrite, device=device, progress=progress
    )


def _is_same(run: Run, config: RunConfig, start: Checkpoint) -> bool:
    """Whether a run, finished or not, has this configuration and start."""
    settings, expected = (c.model_dump_json(exclude={"versions"}) for c in (run.config, config))
    if settings != expected or 0 not in run.steps:
        return False
    saved = run.checkpoint(0)
    parts = ((saved.weights, start.weights), (saved.scores, start.scores))
    return saved.mask == start.mask and all(
        ours.keys() == theirs.keys()
        and all(torch.equal(tensor, theirs[name].cpu()) for name, tensor in ours.items())
        for ours, theirs in parts
    )
