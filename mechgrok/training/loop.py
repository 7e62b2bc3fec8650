"""The training loop."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mechgrok.config import RunConfig
from mechgrok.errors import UserError
from mechgrok.masks import mask_of
from mechgrok.masks.popup import apply_popup, scores_of
from mechgrok.models import HookedModel, effective_weights, raw_weights
from mechgrok.runs import Run, create_run
from mechgrok.runs.checkpoint import Checkpoint, drop_checkpoints_after, write_checkpoint
from mechgrok.runs.folder import check_room, finish_replacing, settle, write_config
from mechgrok.runs.lock import writing
from mechgrok.runs.metrics import append_metrics, drop_metrics_from
from mechgrok.runs.state import read_state, write_state
from mechgrok.tasks import Examples, Task
from mechgrok.training.config import TrainingConfig
from mechgrok.training.divergence import stop_if_diverged
from mechgrok.training.fused import Stepper
from mechgrok.training.machine import find_device, interrupts, threads
from mechgrok.training.optimizers import load_optimizer, make_optimizer, optimizer_state
from mechgrok.training.schedule import checkpoint_steps, evaluation_steps, usual_interval

#: Called after every evaluation with its row of ``metrics.csv``.
Progress = Callable[[dict[str, float]], object]


class Interrupted(KeyboardInterrupt):
    """Training was interrupted by the user and saved at ``step``, in the run's folder ``path``."""

    def __init__(self, step: int, path: Path) -> None:
        super().__init__(f"interrupted at step {step}")
        self.step = step
        self.path = path


def train(
    out: str | Path,
    config: RunConfig | None = None,
    *,
    start: Checkpoint | None = None,
    overwrite: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
) -> Run:
    """Train a network, saving the run to the folder ``out``.

    Args:
        out: a folder that is absent or empty.
        config: what to train; the paper's MLP on a + b mod 67 unless given.
        start: weights and mask to start from; fresh weights unless given.
        overwrite: replace the run that ``out`` holds.
        device: "auto" (CUDA where there is one), "cpu" or "cuda".
        progress: called after every evaluation with its row of the metrics.

    Raises:
        UserError: the folder cannot be used, or the device is not there.
        Interrupted: Ctrl-C; the run is saved and `resume` goes on with it.
        Diverged: the loss is not finite; what came before is saved.
    """
    device = find_device(device)
    check_room(Path(out), overwrite=overwrite)
    with writing(Path(out)):
        create_run(out, config or RunConfig(), start, overwrite=overwrite)
        return resume(out, device=device, progress=progress)


def resume(
    out: str | Path,
    *,
    steps: int | None = None,
    checkpoint_every: int | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Run:
    """Go on with the run in ``out`` from its newest complete checkpoint to its last step.

    On the same machine the weights come out exactly as those of a run that was never interrupted.

    Args:
        out: the run's folder.
        steps: train to this step instead: any from the last checkpoint on. A run that
            ``until_grokked`` stopped is trained on to it. Checkpoints are at least as far apart as
            is usual for a run of that length.
        checkpoint_every: steps between checkpoints from here on.

    Raises:
        UserError: the folder holds no run, or one that cannot be gone on with: it is being written,
            was imported, or has no optimizer's state.
    """
    finish_replacing(Path(out))
    run = Run(out)
    if run.config.origin is not None and run.config.origin.kind == "import":
        raise UserError(
            f"{run.path} was imported, without its optimizer and its split, so it can be analyzed "
            "but not resumed."
        )
    device = find_device(device)
    if steps is None and checkpoint_every is None and _complete(run):
        return run
    with writing(run.path):
        settle(run.path)
        step, state = read_state(run.path)
        if steps is not None or checkpoint_every is not None:
            run = _extend(run, steps, checkpoint_every)
            if _complete(run):
                return run
        drop_checkpoints_after(run.path, step)
        drop_metrics_from(run.path, step)
        run = Run(out)
        rows = [
            {str(column): value for column, value in row.items()}
            for row in run.metrics.to_dict("records")
        ]
        model = trained_model(run, step, device)
        optimizer = make_optimizer(model, run.config)
        load_optimizer(optimizer, model, state)
        _loop(run, model, optimizer, step, rows, progress or (lambda row: None))
    return Run(out)


def _loop(
    run: Run,
    model: HookedModel,
    optimizer: Stepper,
    start: int,
    rows: list[dict[str, float]],
    progress: Progress,
) -> None:
    task, training = run.task, run.config.recipe
    device = next(model.parameters()).device
    train_set, test_set = (_on_device(side, model, device) for side in (task.train, task.test))
    batches = make_batches(train_set, training, start)
    evaluate_at = set(evaluation_steps(training.steps))
    save_at = set(
        checkpoint_steps(training.steps, training.checkpoint_every, training.checkpoint_at)
    )
    stop_at = stopping_step(rows, task, training)
    written = len(rows)
    losses: list[Tensor] = []

    with threads(training.threads), interrupts() as interrupted:
        for step in range(start, training.steps + 1):
            stopping = step >= stop_at or bool(interrupted)
            if step in evaluate_at or step in save_at or stopping:
                rows.append({"step": step, **evaluate(model, task, train_set, test_set)})
                stop_if_diverged(run.path, run.config, losses, rows, written)
                losses.clear()
                progress(rows[-1])
                stop_at = stopping_step(rows, task, training)
                stopping = stopping or step >= stop_at
            if step in save_at or stopping:
                write_checkpoint(run.path, snapshot(model, step))
                append_metrics(run.path, rows[written:])
                written = len(rows)
                write_state(run.path, step, optimizer_state(optimizer, model))
            if interrupted and step < min(stop_at, training.steps):
                raise Interrupted(step, run.path)
            if stopping or step == training.steps:
                break

            inputs, labels = next(batches)
            loss = task.loss(model(inputs), labels) + penalty(model, training)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())


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


def penalty(model: nn.Module, training: TrainingConfig) -> Tensor | float:
    """l1 · Σ|w| + l2 · Σw² over all weights, as configured."""
    if not (training.l1 or training.l2):
        return 0.0
    weights = effective_weights(model).values()
    l1 = sum(weight.abs().sum() for weight in weights) if training.l1 else 0.0
    l2 = sum(weight.square().sum() for weight in weights) if training.l2 else 0.0
    return training.l1 * l1 + training.l2 * l2


@torch.no_grad()
def evaluate(
    model: HookedModel, task: Task, train_set: Examples, test_set: Examples
) -> dict[str, float]:
    """One row of the metrics: loss and accuracy on both sides, L1 and L2 norm of the weights."""
    row = {}
    for side, (inputs, labels) in {"train": train_set, "test": test_set}.items():
        outputs = model(inputs)
        row[f"{side}_loss"] = task.loss(outputs, labels).item()
        row[f"{side}_accuracy"] = task.accuracy(outputs, labels).item()
    weights = effective_weights(model).values()
    row["l1"] = sum(weight.abs().sum(dtype=torch.float64) for weight in weights).item()  # type: ignore[union-attr]
    row["l2"] = sum(weight.double().square().sum() for weight in weights).sqrt().item()  # type: ignore[union-attr]
    return row


def stopping_step(rows: list[dict[str, float]], task: Task, training: TrainingConfig) -> float:
    """The step at which ``until_grokked`` ends the run; infinity while t_gen is not reached."""
    if training.until_grokked is None:
        return float("inf")
    quantity, level = task.criterion
    for row in rows:
        value = row[f"test_{quantity}"]
        if value >= level if quantity == "accuracy" else value <= level:
            return row["step"] + training.until_grokked
    return float("inf")


def trained_model(run: Run, step: int, device: str = "cpu") -> HookedModel:
    """The network at ``step`` as it is trained: with the scores that choose edge-popup's mask."""
    model = run.model(step, device=device)
    if run.config.popup is not None:
        apply_popup(model, run.config.popup, run.checkpoint(step).scores)
    return model


def snapshot(model: HookedModel, step: int) -> Checkpoint:
    """What a checkpoint keeps of the model: weights, the mask that is on, scores."""
    return Checkpoint(step, dict(raw_weights(model)), mask_of(model), dict(scores_of(model)))


def _on_device(data: Examples, model: HookedModel, device: torch.device) -> Examples:
    return Examples(model.encode(data.inputs.to(device)), data.labels.to(device))


def _extend(run: Run, steps: int | None, checkpoint_every: int | None) -> Run:
    """Move the run's last step, and let checkpoints be as far apart as suits the new length.

    Raises:
        UserError: the new last step is before the last checkpoint.
    """
    before, last = run.config.recipe, max(run.steps, default=0)
    steps = before.steps if steps is None else steps
    if steps < last:
        raise UserError(
            f"{run.path} has a checkpoint at step {last}, so it cannot be resumed to {steps}: "
            f"choose --steps {last} or more."
        )
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


def _complete(run: Run) -> bool:
    """Whether nothing is left to do: the run has ended, and what it ended with is sound."""
    if not run.finished:
        return False
    try:
        return read_state(run.path)[0] == run.steps[-1]
    except UserError:
        # Without a state it can only be looked at, and it is finished.
        return True
