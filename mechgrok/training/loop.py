"""The training loop."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mechgrok.configuration.run_config import RunConfig, resolve_config
from mechgrok.configuration.schedule import usual_interval
from mechgrok.configuration.training import TrainingConfig
from mechgrok.denormals import flushed_denormals
from mechgrok.errors import UserError
from mechgrok.global_state import in_neutral_state, threads
from mechgrok.loggers import find_loggers, logged
from mechgrok.models import HookedModel
from mechgrok.optimization.fused import TorchOptimizer
from mechgrok.optimization.transforms.chain import take_step
from mechgrok.progress import show_training
from mechgrok.runs import Run
from mechgrok.runs.checkpoint import Checkpoint
from mechgrok.runs.folder import check_room, finish_replacing, recover, write_config
from mechgrok.runs.lock import writing
from mechgrok.runs.state import before_the_newest, read_state
from mechgrok.starts import Start
from mechgrok.tasks import Examples
from mechgrok.training import create_run
from mechgrok.training.dropout import Dropout
from mechgrok.training.evaluation import evaluate, on_device
from mechgrok.training.gradients import backpropagate
from mechgrok.training.loss import StepLoss, loss_at
from mechgrok.training.machine import find_device, interrupts
from mechgrok.training.optimizer import resume_optimizers
from mechgrok.training.optimizer_state import optimizer_state
from mechgrok.training.recorder import (
    Interrupted,
    RunRecorder,
    Shown,
    Watch,
    load_for_training,
)


@in_neutral_state
def train(
    out: str | Path,
    config: RunConfig | str | None = None,
    *,
    start: Checkpoint | Start | str | None = None,
    overwrite: bool = False,
    device: str = "auto",
    progress: Shown = "auto",
    watch: Watch | None = None,
    log: str | Sequence[str] = (),
    **settings: Any,
) -> Run:
    """Train a network and save the run to the folder ``out``.

    Args:
        out: an absent or empty folder.
        config: a configuration, or the name of a preset; default: the paper's MLP on a + b mod 67.
        start: a start, such as ``"waves"``, or weights and mask to start from; default: fresh
            weights.
        overwrite: replace the run in ``out``.
        device: "auto" (CUDA if available), "cpu" or "cuda".
        progress: called with each row of metrics after its evaluation; "auto" is a progress bar in
            a notebook, and nothing elsewhere.
        watch: ``watch(model, row)``, called after every evaluation with the live network, which it
            must not change, and the row of metrics.
        log: further loggers: "tensorboard", "wandb", "trackio", or your own.
        settings: settings that override the preset's: ``weight_decay=3``,
            ``transforms="orthograd"``, ``probes={"fourier": 100}``.

    Raises:
        UserError: the folder cannot be used, a setting is unknown, or the device is unavailable.
        Interrupted: Ctrl-C; the run is saved, and `resume` continues it.
        Diverged: the loss is not finite; earlier steps are saved.
    """
    device = find_device(device)
    check_room(Path(out), overwrite=overwrite)
    if start is not None and not isinstance(start, Checkpoint):
        settings["start"], start = start, None
    config = resolve_config(config, settings)
    find_loggers(log)  # Unknown loggers raise before the folder is created.
    with writing(Path(out)):
        create_run(out, config, start, overwrite=overwrite, device=device)
        return resume(out, device=device, progress=progress, watch=watch, log=log)


@in_neutral_state
def resume(
    out: str | Path,
    *,
    steps: int | None = None,
    checkpoint_every: int | None = None,
    device: str = "auto",
    progress: Shown = "auto",
    watch: Watch | None = None,
    log: str | Sequence[str] = (),
) -> Run:
    """Train the run in ``out`` from its newest complete checkpoint to its last step.

    On the same machine the weights are exactly those of a run that was never interrupted.

    Args:
        out: the run's folder.
        steps: the new last step, at or after the last checkpoint; a run stopped by
            ``until_grokked`` trains on. Checkpoints are at least as far apart as usual for that
            length. The step of the second-to-last checkpoint rewinds the run: later steps are
            deleted.
        checkpoint_every: new number of steps between checkpoints.
        device, progress, watch, log: as for `train`.

    Raises:
        UserError: the folder holds no run, or a run that cannot be resumed: it is being written,
            was imported, or has no optimizer state.
    """
    run, device = open_resumable(out), find_device(device)
    if steps is None and checkpoint_every is None and is_complete(run):
        if not run.is_unlocked:  # A process was killed after its last write.
            with writing(run.path):
                recover(run.path)
        return run
    with writing(run.path):
        recover(run.path)
        rewinds = steps is not None and steps < max(run.steps, default=0)
        step, state = _state_before(run, steps or 0) if rewinds else read_state(run.path)
        if steps is not None or checkpoint_every is not None:
            run = _extend(run, steps, checkpoint_every)
            if is_complete(run) and not rewinds:
                return run
        with (
            show_training(progress, run.config.recipe.steps) as show,
            logged(run, log, step) as send,
        ):
            recorder = RunRecorder(run.path, step, lambda row: (show(row), send(row)))
            model = load_for_training(recorder.run, step, device)
            train_to_end(recorder, model, state, watch)
    return Run(out)


def open_resumable(path: str | Path) -> Run:
    """Open the run in ``path`` to resume it.

    Raises:
        UserError: the folder holds no run, or an imported one.
    """
    finish_replacing(Path(path))
    run = Run(path)
    if run.config.origin is not None and run.config.origin.kind == "import":
        raise UserError(
            f"{run.path} was imported without its optimizer and its split, so it can be analyzed "
            "but not resumed."
        )
    return run


def train_to_end(
    recorder: RunRecorder,
    model: HookedModel,
    state: dict[str, Any],
    watch: Watch | None = None,
) -> None:
    """Train a network from its run's current step to the last, phase by phase.

    Args:
        recorder: the run.
        model: its network at the current step.
        state: the optimizer's state there, as in ``resume.safetensors``.
        watch: as for `train`.

    Raises:
        Interrupted: Ctrl-C; the run is saved.
        Diverged: a loss is not finite; earlier steps are saved.
    """
    training, losses = recorder.training, list[Tensor]()
    with threads(training.threads), flushed_denormals(), interrupts() as interrupted:
        while True:
            start, end = recorder.step, training.next_phase(recorder.step)
            (optimizer,) = resume_optimizers([(model, recorder.run.config)], [start], [state])
            config = recorder.run.config.at(start)
            task = config.task
            train_set, test_set = (on_device(side, model) for side in (task.train, task.test))
            logits = partial(model, train_set.inputs)
            step = _make_step(model, config, optimizer, train_set, start)
            while recorder.step < end:
                stopping = bool(interrupted)
                step_loss = loss_at(config.recipe, recorder.step, logits)
                if recorder.is_due(stopping):
                    metrics, temperature = training.metrics, step_loss.temperature
                    row = evaluate(model, task, train_set, test_set, metrics, temperature)
                    recorder.record(row, losses)
                    losses.clear()
                    if watch is not None:
                        with torch.no_grad():
                            watch(model, dict(recorder.rows[-1]))
                    stopping = stopping or bool(interrupted)
                    recorder.save(model, optimizer, stopping)
                    if recorder.is_over:
                        return
                    if stopping:
                        raise Interrupted(recorder.step, recorder.run.path)
                losses.append(step(step_loss))
                recorder.step += 1
            state = optimizer_state(optimizer, model)


def _make_step(
    model: HookedModel,
    config: RunConfig,
    optimizer: TorchOptimizer,
    train_set: Examples,
    start: int,
) -> Callable[[StepLoss], Tensor]:
    """A function that takes one training step with a `StepLoss` and returns the loss before it.

    Args:
        model: the network.
        config: the configuration in force.
        optimizer: updates the network's weights.
        train_set: the training set, from `on_device`.
        start: the number of the first step.
    """
    task, training = config.task, config.recipe
    dropout = Dropout(model, training, task.train.inputs) if training.dropout else None
    numbered = enumerate(make_batches(train_set, training, start), start)

    def step(step_loss: StepLoss) -> Tensor:
        number, batch = next(numbered)

        def gradient() -> Tensor:
            optimizer.zero_grad()
            if dropout is None:
                return backpropagate(model, task, batch, training, step_loss)
            factors = dropout.factors(number, len(batch.labels), model.device)
            with dropout.applied(model, factors):
                return backpropagate(model, task, batch, training, step_loss)

        return take_step([optimizer], gradient)

    return step


def make_batches(data: Examples, training: TrainingConfig, start: int) -> Iterator[Examples]:
    """The training batches from step ``start`` on: the full set, or mini-batches by epoch.

    The shuffle of epoch e depends only on the batch seed and e, so a run can be resumed anywhere.
    """
    n = len(data.labels)
    size = training.batch_size or n
    if size >= n:
        while True:
            yield data
    per_epoch = -(-n // size)
    epoch, skip = divmod(start, per_epoch)
    while True:
        shuffled = np.random.default_rng([training.batch_seed, epoch]).permutation(n)
        order = torch.from_numpy(shuffled).to(data.labels.device)
        for rows in order.split(size)[skip:]:
            yield Examples(data.inputs[rows], data.labels[rows])
        epoch, skip = epoch + 1, 0


def _extend(run: Run, steps: int | None, checkpoint_every: int | None) -> Run:
    """Change the run's last step and the interval of its checkpoints."""
    before, last = run.config.recipe, max(run.steps, default=0)
    steps = before.steps if steps is None else steps
    every = usual_interval(steps)
    if before.checkpoint_every != usual_interval(before.steps):  # The user chose it.
        every = max(before.checkpoint_every, every if steps > before.steps else 0)
    changes: dict[str, int | None] = {"steps": steps, "checkpoint_every": checkpoint_every or every}
    if run.finished and last < before.steps:  # The run stopped early and trains on.
        changes["until_grokked"] = None
    training = TrainingConfig.model_validate(before.model_dump() | changes)
    write_config(run.path, run.config.model_copy(update={"training": training}))
    return Run(run.path)


def _state_before(run: Run, steps: int) -> tuple[int, dict[str, Any]]:
    """The state at the second-to-last checkpoint, which must be at step ``steps``.

    Raises:
        UserError: that checkpoint is at another step.
    """
    step, state = before_the_newest(run.path)
    if step == steps:
        return steps, state
    raise UserError(
        f"{run.path} has a checkpoint at step {run.steps[-1]}, so it cannot be resumed to {steps}: "
        f"choose --steps {run.steps[-1]} or more"
        + (f", or {step} to undo the extension." if step is not None else ".")
    )


def is_complete(run: Run) -> bool:
    """Whether the run has ended with a valid state at its last step."""
    if not run.finished:
        return False
    try:
        return read_state(run.path)[0] == run.steps[-1]
    except UserError:
        # A finished run without a state needs no resuming.
        return True
