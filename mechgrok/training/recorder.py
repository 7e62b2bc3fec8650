"""Recording a run: its current step, evaluations, checkpoints and end."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from torch import Tensor

from mechgrok.configuration.schedule import Steps, checkpoint_steps, evaluation_steps, log_spaced
from mechgrok.configuration.training import TrainingConfig
from mechgrok.errors import ExternalError
from mechgrok.masks import mask_of
from mechgrok.masks.popup import apply_popup, scores_of
from mechgrok.models import HookedModel, raw_weights
from mechgrok.optimization.fused import TorchOptimizer
from mechgrok.progress import RowCallback as Progress
from mechgrok.runs import Run
from mechgrok.runs.checkpoint import (
    Checkpoint,
    checkpoint_file,
    drop_checkpoints_after,
    write_checkpoint,
)
from mechgrok.runs.folder import CONFIG
from mechgrok.runs.metrics import append_metrics, drop_metrics_from
from mechgrok.runs.state import drop_checkpoints_but, write_state
from mechgrok.tasks import Task
from mechgrok.training.divergence import stop_if_diverged
from mechgrok.training.optimizer_state import optimizer_state

#: A callback for rows of metrics; "auto": a bar in a notebook, nothing elsewhere; or None.
Shown = Progress | Literal["auto"] | None
#: Called after every evaluation with the live network and the row of metrics.
Watch = Callable[[HookedModel, dict[str, float]], object]


class Interrupted(KeyboardInterrupt):
    """The user interrupted training; the run in ``path`` is saved at ``step``."""

    def __init__(self, step: int, path: Path) -> None:
        super().__init__(f"interrupted at step {step}")
        self.step = step
        self.path = path


class RunRecorder:
    """Tracks a run's step and writes its metrics, checkpoints and states when they are due.

    Checkpoints and metrics after ``step`` are deleted, because training repeats those steps.

    Args:
        path: the run's folder, locked for writing.
        step: the step to resume from, which has a checkpoint and a state.
        progress: called after every evaluation with its row of metrics.
    """

    def __init__(self, path: Path, step: int, progress: Progress) -> None:
        drop_checkpoints_after(path, step)
        drop_metrics_from(path, step)
        self.run, self.step, self.progress = Run(path), step, progress
        self._inode = path.stat().st_ino
        self.training = training = self.run.config.recipe
        self.rows: list[dict[str, float]] = [
            {str(column): value for column, value in row.items()}
            for row in self.run.metrics.to_dict("records")
        ]
        self._n_written = len(self.rows)
        schedule = checkpoint_steps(
            training.steps, training.checkpoint_every, training.checkpoint_at
        )
        phases = tuple(phase.at for phase in training.phases)
        self._save_at = Steps((*schedule.parts, phases))
        self._keep = None
        if training.keep is not None:
            self._keep = log_spaced(schedule, training.keep).union(training.checkpoint_at, phases)
        every = [probe.every for probe in training.probes]
        self._probe_at = Steps(tuple(range(0, training.steps + 1, n) for n in every))
        self._probing = None
        if training.probes:
            from mechgrok.results.probing import Probing
            from mechgrok.runs.probes import drop_probes_after

            drop_probes_after(path, step)
            self._probing = Probing(self.run, training.probes)
        parts = (*self._save_at.parts, *self._probe_at.parts)
        self._evaluate_at = Steps((*parts, *evaluation_steps(training.steps).parts))
        self._last_task = self.run.task_at(training.last_phase)
        self._end = self._find_end()

    @property
    def is_over(self) -> bool:
        """Whether the last step is reached."""
        return self.step >= self._end

    def is_due(self, stopping: bool) -> bool:
        """Whether this step is evaluated: by schedule, or because training stops here."""
        return stopping or self.step in self._evaluate_at or self.is_over

    def record(self, row: dict[str, float], losses: Sequence[Tensor]) -> None:
        """Record an evaluation at this step.

        Args:
            row: the row of metrics, without the step.
            losses: one per step since the previous evaluation.

        Raises:
            Diverged: a loss is not finite.
            ExternalError: the run's folder was deleted, moved or replaced.
        """
        self._check_folder()
        self.rows.append({"step": self.step, **row, **self.training.phase_column(self.step)})
        stop_if_diverged(self.run.path, self.run.config, losses, self.rows, self._n_written)
        self.progress(self.rows[-1])
        self._end = self._find_end()

    def _check_folder(self) -> None:
        try:
            same = self.run.path.stat().st_ino == self._inode
            same = same and (self.run.path / CONFIG).exists()
        except OSError:
            same = False
        if not same:
            raise ExternalError(
                f"{self.run.path} was deleted, moved or replaced during training, which stopped "
                f"at step {self.step:,}."
            )

    def save(self, model: HookedModel, optimizer: TorchOptimizer, stopping: bool) -> None:
        """Write a checkpoint, the metrics and the optimizer's state if they are due.

        If only a probe is due, its checkpoint is deleted after the measurement.
        """
        saving = stopping or self.step in self._save_at or self.is_over
        if not saving and self.step not in self._probe_at:
            return
        write_checkpoint(self.run.path, snapshot(model, self.step))
        append_metrics(self.run.path, self.rows[self._n_written :])
        self._n_written = len(self.rows)
        if self._probing is not None:
            self._probing.measure(self.step, last=self.is_over)
        if not saving:
            checkpoint_file(self.run.path, self.step).unlink()
            return
        if self._probing is not None:
            self._probing.write(self.step)
        write_state(self.run.path, self.step, optimizer_state(optimizer, model))
        if self._keep is not None:
            drop_checkpoints_but(self.run.path, self._keep, going_on=not self.is_over)

    def _find_end(self) -> float:
        return min(self.training.steps, stopping_step(self.rows, self._last_task, self.training))


def stopping_step(rows: list[dict[str, float]], task: Task, training: TrainingConfig) -> float:
    """The step at which ``until_grokked`` ends the run; infinity before t_gen in its last phase."""
    if training.until_grokked is None:
        return float("inf")
    rows = [row for row in rows if row["step"] >= training.last_phase]
    reached = (row["step"] for row in rows if task.criterion.is_met(row))
    return next(reached, float("inf")) + training.until_grokked


def load_for_training(run: Run, step: int, device: str = "cpu") -> HookedModel:
    """The network at ``step`` for training: with edge-popup's scores instead of their mask."""
    model = run.model(step, device=device)
    if run.config.popup is not None:
        apply_popup(model, run.config.popup, run.checkpoint(step).scores)
    return model


def snapshot(model: HookedModel, step: int) -> Checkpoint:
    """A checkpoint of the model: its weights, mask and edge-popup scores."""
    return Checkpoint(step, dict(raw_weights(model)), mask_of(model), dict(scores_of(model)))
