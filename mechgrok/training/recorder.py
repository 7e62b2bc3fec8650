"""Where a run is in its training, and what of it is written to disk."""

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
from mechgrok.optimization.optimizers import optimizer_state
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

#: A callback for rows of metrics, or "auto": a bar in a notebook, nothing elsewhere; or None.
Shown = Progress | Literal["auto"] | None
#: Called after every evaluation with the network as it is then, and the row.
Watch = Callable[[HookedModel, dict[str, float]], object]


class Interrupted(KeyboardInterrupt):
    """Training was interrupted by the user and saved at ``step``, in the run's folder ``path``."""

    def __init__(self, step: int, path: Path) -> None:
        super().__init__(f"interrupted at step {step}")
        self.step = step
        self.path = path


class RunRecorder:
    """Knows at which step a run is and what is due there, and writes it.

    What the folder holds that is newer than ``step`` is deleted; it will be made again.

    Args:
        path: the run's folder, locked for writing.
        step: where training resumes; the step has a checkpoint and a state.
        progress: called after every evaluation with its row of the metrics.
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
        self._save_at = checkpoint_steps(
            training.steps, training.checkpoint_every, training.checkpoint_at
        )
        self._keep = None
        if training.keep is not None:
            self._keep = log_spaced(self._save_at, training.keep) | set(training.checkpoint_at)
        every = [probe.every for probe in training.probes]
        self._probe_at = Steps(tuple(range(0, training.steps + 1, n) for n in every))
        self._probing = None
        if training.probes:
            from mechgrok.results.probing import Probing
            from mechgrok.runs.probes import drop_probes_after

            drop_probes_after(path, step)
            self._probing = Probing(self.run, training.probes)
        parts = [each.parts for each in (self._save_at, self._probe_at)]
        self._evaluate_at = Steps((*sum(parts, ()), *evaluation_steps(training.steps).parts))
        self._end = self._find_end()

    @property
    def is_over(self) -> bool:
        """Whether no step is left to take."""
        return self.step >= self._end

    def is_due(self, stopping: bool) -> bool:
        """Whether the network is evaluated at this step; it is where training stops, too."""
        return stopping or self.step in self._evaluate_at or self.is_over

    def record(self, row: dict[str, float], losses: Sequence[Tensor]) -> None:
        """Take in an evaluation at this step.

        Args:
            row: of the metrics, without the step.
            losses: of the steps since the evaluation before, one each.

        Raises:
            Diverged: one of them, or that of the evaluation, is not finite.
            ExternalError: the run's folder was deleted, moved or replaced: nothing can be saved.
        """
        self._check_folder()
        self.rows.append({"step": self.step, **row})
        stop_if_diverged(self.run.path, self.run.config, losses, self.rows, self._n_written)
        self.progress(self.rows[-1])
        self._end = self._find_end()

    def _check_folder(self) -> None:
        try:
            there = self.run.path.stat().st_ino == self._inode
            there = there and (self.run.path / CONFIG).exists()
        except OSError:
            there = False
        if not there:
            raise ExternalError(
                f"{self.run.path} was deleted, moved or replaced while it was being trained, so "
                f"the training ended at step {self.step:,}."
            )

    def save(self, model: HookedModel, optimizer: TorchOptimizer, stopping: bool) -> None:
        """Write a checkpoint, the metrics and the optimizer's state where they are due.

        Where only a probe is, the checkpoint is deleted when it has been measured.
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
        return min(self.training.steps, stopping_step(self.rows, self.run.task, self.training))


def stopping_step(rows: list[dict[str, float]], task: Task, training: TrainingConfig) -> float:
    """The step at which ``until_grokked`` ends the run; infinity while t_gen is not reached."""
    if training.until_grokked is None:
        return float("inf")
    reached = (row["step"] for row in rows if task.criterion.is_met(row))
    return next(reached, float("inf")) + training.until_grokked


def load_for_training(run: Run, step: int, device: str = "cpu") -> HookedModel:
    """The network at ``step`` as it is trained: with the scores that choose edge-popup's mask."""
    model = run.model(step, device=device)
    if run.config.popup is not None:
        apply_popup(model, run.config.popup, run.checkpoint(step).scores)
    return model


def snapshot(model: HookedModel, step: int) -> Checkpoint:
    """What a checkpoint keeps of the model: weights, the mask that is on, scores."""
    return Checkpoint(step, dict(raw_weights(model)), mask_of(model), dict(scores_of(model)))
