"""The training loop."""

from collections.abc import Iterator, Sequence
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
from mechgrok.global_state import in_neutral_state
from mechgrok.loggers import find_loggers, logged
from mechgrok.models import HookedModel
from mechgrok.optimization.fused import TorchOptimizer
from mechgrok.optimization.optimizers import load_optimizer, make_optimizer
from mechgrok.optimization.transforms.chain import take_step
from mechgrok.progress import show_training
from mechgrok.runs import Run
from mechgrok.runs.checkpoint import Checkpoint
from mechgrok.runs.folder import check_room, finish_replacing, recover, write_config
from mechgrok.runs.lock import writing
from mechgrok.runs.state import before_the_newest, read_state
from mechgrok.tasks import Examples
from mechgrok.training import create_run
from mechgrok.training.dropout import Dropout
from mechgrok.training.evaluation import evaluate, on_device
from mechgrok.training.gradients import backpropagate
from mechgrok.training.machine import find_device, interrupts, threads
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
    start: Checkpoint | None = None,
    overwrite: bool = False,
    device: str = "auto",
    progress: Shown = "auto",
    watch: Watch | None = None,
    log: str | Sequence[str] = (),
    **settings: Any,
) -> Run:
    """Train a network, saving the run to the folder ``out``.

    Args:
        out: a folder that is absent or empty.
        config: what to train: a configuration, or the name of a preset; the default preset, the
            paper's MLP on a + b mod 67, unless given.
        start: weights and mask to start from; fresh weights unless given.
        overwrite: replace the run that ``out`` holds.
        device: "auto" (CUDA where there is one), "cpu" or "cuda".
        progress: called after every evaluation with its row of the metrics; "auto" is a bar in a
            notebook, and nothing elsewhere.
        watch: called after every evaluation with the live network, whose weights it leaves as they
            are, and the row: ``watch(model, row)``.
        log: where metrics go besides: "tensorboard", "wandb", "trackio", or one's own.
        settings: over the preset's, by their names: ``weight_decay=3``, ``transforms="orthograd"``,
            ``probes={"fourier": 100}``.

    Raises:
        UserError: the folder cannot be used, a setting is none, or the device is not there.
        Interrupted: Ctrl-C; the run is saved, and `resume` continues it.
        Diverged: the loss is not finite; what came before is saved.
    """
    device = find_device(device)
    check_room(Path(out), overwrite=overwrite)
    config = resolve_config(config, settings)
    find_loggers(log)  # Before anything is made.
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
        steps: train to this step instead: any from the last checkpoint on. A run that
            ``until_grokked`` stopped is trained on to it. Checkpoints are at least as far apart as
            is usual for a run of that length. The step of the checkpoint before the last takes the
            run back to there: what came after is deleted.
        checkpoint_every: steps between checkpoints from here on.

    Raises:
        UserError: the folder holds no run, or one that cannot be resumed: it is being written, was
            imported, or has no optimizer's state.
    """
    run, device = open_resumable(out), find_device(device)
    if steps is None and checkpoint_every is None and is_complete(run):
        if not run.is_unlocked:  # A process was killed after all was written.
            with writing(run.path):
                recover(run.path)
        return run
    with writing(run.path):
        recover(run.path)
        back = steps is not None and steps < max(run.steps, default=0)
        step, state = _state_before(run, steps or 0) if back else read_state(run.path)
        if steps is not None or checkpoint_every is not None:
            run = _extend(run, steps, checkpoint_every)
            if is_complete(run) and not back:
                return run
        with (
            show_training(progress, run.config.recipe.steps) as show,
            logged(run, log, step) as send,
        ):
            recorder = RunRecorder(run.path, step, lambda row: (show(row), send(row)))
            model = load_for_training(recorder.run, step, device)
            optimizer = make_optimizer(model, run.config, step)
            load_optimizer(optimizer, model, state)
            train_to_end(recorder, model, optimizer, watch)
    return Run(out)


def open_resumable(path: str | Path) -> Run:
    """The run in ``path``, which can be resumed.

    Raises:
        UserError: the folder holds no run, or an imported one.
    """
    finish_replacing(Path(path))
    run = Run(path)
    if run.config.origin is not None and run.config.origin.kind == "import":
        raise UserError(
            f"{run.path} was imported, without its optimizer and its split, so it can be analyzed "
            "but not resumed."
        )
    return run


def train_to_end(
    recorder: RunRecorder,
    model: HookedModel,
    optimizer: TorchOptimizer,
    watch: Watch | None = None,
) -> None:
    """Train a network from where its run is to where that ends.

    Raises:
        Interrupted: Ctrl-C; the run is saved.
        Diverged: a loss is not finite; what came before is saved.
    """
    task, training = recorder.run.task, recorder.training
    train_set, test_set = (on_device(side, model) for side in (task.train, task.test))
    batches = make_batches(train_set, training, recorder.step)
    losses: list[Tensor] = []
    dropout = Dropout(model, training, task.train.inputs) if training.dropout else None

    def gradient() -> Tensor:
        optimizer.zero_grad()
        if dropout is None:
            return backpropagate(model, task, batch, training)
        factors = dropout.factors(recorder.step, len(batch.labels), model.device)
        with dropout.applied(model, factors):
            return backpropagate(model, task, batch, training)

    with threads(training.threads), flushed_denormals(), interrupts() as interrupted:
        while True:
            stopping = bool(interrupted)
            if recorder.is_due(stopping):
                row = evaluate(model, task, train_set, test_set, training.metrics)
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

            batch = next(batches)
            losses.append(take_step([optimizer], gradient))
            recorder.step += 1


def make_batches(data: Examples, training: TrainingConfig, start: int) -> Iterator[Examples]:
    """The training batches from step ``start`` on: the full set, or each epoch's shuffle in turn.

    The shuffle of epoch e depends on the batch seed and e alone, so that a run can be resumed
    anywhere without replaying what came before.
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
        for chosen in order.split(size)[skip:]:
            yield Examples(data.inputs[chosen], data.labels[chosen])
        epoch, skip = epoch + 1, 0


def _extend(run: Run, steps: int | None, checkpoint_every: int | None) -> Run:
    """Move the run's last step, and let checkpoints be as far apart as suits the new length."""
    before, last = run.config.recipe, max(run.steps, default=0)
    steps = before.steps if steps is None else steps
    every = usual_interval(steps)
    if before.checkpoint_every != usual_interval(before.steps):  # It was chosen.
        every = max(before.checkpoint_every, every if steps > before.steps else 0)
    changes: dict[str, int | None] = {"steps": steps, "checkpoint_every": checkpoint_every or every}
    if run.finished and last < before.steps:  # It stopped early, and is to train on.
        changes["until_grokked"] = None
    training = TrainingConfig.model_validate(before.model_dump() | changes)
    write_config(run.path, run.config.model_copy(update={"training": training}))
    return Run(run.path)


def _state_before(run: Run, steps: int) -> tuple[int, dict[str, Any]]:
    """The state at a step before the newest checkpoint, if it is the one kept beside that.

    Raises:
        UserError: the state is of another step.
    """
    step, state = before_the_newest(run.path)
    if step == steps:
        return steps, state
    raise UserError(
        f"{run.path} has a checkpoint at step {run.steps[-1]}, so it cannot be resumed to {steps}: "
        f"choose --steps {run.steps[-1]} or more"
        + (f", or {step} to take back what came after it." if step is not None else ".")
    )


def is_complete(run: Run) -> bool:
    """Whether nothing is left to do: the run has ended, and its last state is sound."""
    if not run.finished:
        return False
    try:
        return read_state(run.path)[0] == run.steps[-1]
    except UserError:
        # Without a state it cannot be resumed, and it is finished.
        return True
