"""The training loop."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mechgrok.configuration.run_config import RunConfig, configured
from mechgrok.configuration.schedule import usual_interval
from mechgrok.configuration.training import TrainingConfig
from mechgrok.denormals import flushed_denormals
from mechgrok.errors import UserError
from mechgrok.global_state import in_neutral_state
from mechgrok.loggers import find_loggers, logged
from mechgrok.metrics import METRICS, column_of, norms
from mechgrok.models import HookedModel
from mechgrok.notebooks import shown
from mechgrok.optimization.fused import TorchOptimizer
from mechgrok.optimization.optimizers import load_optimizer, make_optimizer
from mechgrok.optimization.transforms.chain import take_step
from mechgrok.runs import Run
from mechgrok.runs.checkpoint import Checkpoint
from mechgrok.runs.folder import check_room, finish_replacing, settle, write_config
from mechgrok.runs.lock import writing
from mechgrok.runs.state import before_the_newest, read_state
from mechgrok.tasks import Examples, Task
from mechgrok.training import create_run
from mechgrok.training.course import Course, Interrupted, Shown, Watch, trained_model
from mechgrok.training.dropout import Dropout
from mechgrok.training.gradients import backpropagate
from mechgrok.training.machine import find_device, interrupts, threads
from mechgrok.training.memory import OUTPUTS_AT_ONCE


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
        Interrupted: Ctrl-C; the run is saved and `resume` goes on with it.
        Diverged: the loss is not finite; what came before is saved.
    """
    device = find_device(device)
    check_room(Path(out), overwrite=overwrite)
    config = configured(config, settings)
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
    """Go on with the run in ``out`` from its newest complete checkpoint to its last step.

    On the same machine the weights come out exactly as those of a run that was never interrupted.

    Args:
        out: the run's folder.
        steps: train to this step instead: any from the last checkpoint on. A run that
            ``until_grokked`` stopped is trained on to it. Checkpoints are at least as far apart as
            is usual for a run of that length. The step of the checkpoint before the last takes the
            run back to there: what came after is deleted.
        checkpoint_every: steps between checkpoints from here on.

    Raises:
        UserError: the folder holds no run, or one that cannot be gone on with: it is being written,
            was imported, or has no optimizer's state.
    """
    run = opened_to_train(out)
    device = find_device(device)
    if steps is None and checkpoint_every is None and is_complete(run):
        if not run.settled:  # A process was killed after all was written.
            with writing(run.path):
                settle(run.path)
        return run
    with writing(run.path):
        settle(run.path)
        back = steps is not None and steps < max(run.steps, default=0)
        step, state = _taken_back(run, steps or 0) if back else read_state(run.path)
        if steps is not None or checkpoint_every is not None:
            run = _extend(run, steps, checkpoint_every)
            if is_complete(run) and not back:
                return run
        with shown(progress, run.config.recipe.steps) as show, logged(run, log, step) as send:
            course = Course(run.path, step, lambda row: (show(row), send(row)))
            model = trained_model(course.run, course.step, device)
            optimizer = make_optimizer(model, run.config, course.step)
            load_optimizer(optimizer, model, state)
            go_on(course, model, optimizer, watch)
    return Run(out)


def opened_to_train(path: str | Path) -> Run:
    """The run in ``path``, which may be gone on with.

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


def go_on(
    course: Course, model: HookedModel, optimizer: TorchOptimizer, watch: Watch | None = None
) -> None:
    """Train a network from where its run is to where that ends.

    Raises:
        Interrupted: Ctrl-C; the run is saved.
        Diverged: a loss is not finite; what came before is saved.
    """
    task, training = course.run.task, course.training
    train_set, test_set = (on_device(side, model) for side in (task.train, task.test))
    batches = make_batches(train_set, training, course.step)
    losses: list[Tensor] = []
    dropout = Dropout(model, training, task.train.inputs) if training.dropout else None

    def gradient() -> Tensor:
        optimizer.zero_grad()
        if dropout is None:
            return backpropagate(model, task, batch, training)
        with dropout.off(model, dropout.factors(course.step, len(batch.labels), model.device)):
            return backpropagate(model, task, batch, training)

    with threads(training.threads), flushed_denormals(), interrupts() as interrupted:
        while True:
            stopping = bool(interrupted)
            if course.is_due(stopping):
                row = evaluate(model, task, train_set, test_set, training.metrics)
                course.note(row, losses)
                losses.clear()
                if watch is not None:
                    with torch.no_grad():
                        watch(model, dict(course.rows[-1]))
                stopping = stopping or bool(interrupted)
                course.save(model, optimizer, stopping)
                if course.is_over:
                    break
                if stopping:
                    raise Interrupted(course.step, course.run.path)

            batch = next(batches)
            losses.append(take_step([optimizer], gradient))
            course.step += 1


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


@in_neutral_state
@torch.no_grad()
def evaluate(
    model: HookedModel,
    task: Task,
    train_set: Examples,
    test_set: Examples,
    metrics: Sequence[str] = (),
) -> dict[str, float]:
    """One row of the metrics: loss and accuracy on both sides, L1 and L2 norm of the weights.

    Examples are evaluated in parts where their outputs would fill the memory.

    Args:
        model: the network.
        task: its task.
        train_set: of the task, as `on_device` gives it.
        test_set: likewise.
        metrics: further ones, by their names in `mechgrok.metrics.METRICS`.
    """
    row: dict[str, float] = {}
    for side, examples in {"train": train_set, "test": test_set}.items():
        loss = accuracy = 0.0
        for inputs, labels in _in_parts(examples, max(1, OUTPUTS_AT_ONCE // task.d_output)):
            outputs, share = model(inputs), len(labels) / len(examples.labels)
            loss += share * task.loss(outputs, labels).item()
            accuracy += share * task.accuracy(outputs, labels).item()
        row |= {f"{side}_loss": loss, f"{side}_accuracy": accuracy}
    row["l1"], row["l2"] = (norm.item() for norm in norms(model))
    return row | further(model, task, train_set, metrics)


def further(
    model: HookedModel, task: Task, train_set: Examples, metrics: Sequence[str]
) -> dict[str, float]:
    """The metrics that a run asks for besides the usual ones, by their columns."""
    return {column_of(name): float(METRICS.load(name)(model, task, train_set)) for name in metrics}


def _in_parts(data: Examples, size: int) -> Iterator[Examples]:
    n = len(data.labels)
    if n <= size:
        yield data  # itself, with what the model has kept of it
        return
    for start in range(0, n, size):
        yield Examples(data.inputs[start : start + size], data.labels[start : start + size])


def on_device(data: Examples, model: HookedModel) -> Examples:
    """Examples where the model is, in the form that it takes fastest."""
    return Examples(model.encode(data.inputs.to(model.device)), data.labels.to(model.device))


def _extend(run: Run, steps: int | None, checkpoint_every: int | None) -> Run:
    """Move the run's last step, and let checkpoints be as far apart as suits the new length."""
    before, last = run.config.recipe, max(run.steps, default=0)
    steps = before.steps if steps is None else steps
    usual = usual_interval(steps)
    every = usual
    if before.checkpoint_every != usual_interval(before.steps):
        every = (
            max(before.checkpoint_every, usual)
            if steps > before.steps
            else (before.checkpoint_every)
        )
    changes: dict[str, int | None] = {"steps": steps, "checkpoint_every": checkpoint_every or every}
    if run.finished and last < before.steps:  # It was stopped, and is wanted to go on.
        changes["until_grokked"] = None
    training = TrainingConfig.model_validate(before.model_dump() | changes)
    write_config(run.path, run.config.model_copy(update={"training": training}))
    return Run(run.path)


def _taken_back(run: Run, steps: int) -> tuple[int, dict[str, Any]]:
    """The state at a step before the newest checkpoint, if it is the one that is kept beside it.

    Raises:
        UserError: it is another step.
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
    """Whether nothing is left to do: the run has ended, and what it ended with is sound."""
    if not run.finished:
        return False
    try:
        return read_state(run.path)[0] == run.steps[-1]
    except UserError:
        # Without a state it can only be looked at, and it is finished.
        return True
