"""Run: opens a run folder for reading."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from math import isfinite, prod
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from mechgrok.configuration.origins import ImportOrigin
from mechgrok.errors import UserError
from mechgrok.global_state import neutral_members
from mechgrok.notebooks import html_table
from mechgrok.runs.checkpoint import (
    MASK,
    Checkpoint,
    checkpoint_file,
    checkpoints,
    in_single_precision,
    mask_density,
    open_checkpoint,
    read_checkpoint,
    weight_shapes,
)
from mechgrok.runs.folder import read_config
from mechgrok.runs.lock import LOCK
from mechgrok.runs.metrics import read_metrics
from mechgrok.runs.milestones import Collapse, Learned
from mechgrok.runs.steps import parse_steps, whole_numbers

# torch and the models are imported lazily: a run's description needs neither.
if TYPE_CHECKING:
    import pandas as pd
    import torch
    import xarray as xr
    from jaxtyping import Float
    from torch import Tensor

    from mechgrok.configuration.phase import Phase
    from mechgrok.masks import Mask
    from mechgrok.models import HookedModel, Wiring
    from mechgrok.models.paths import LinearPath
    from mechgrok.tasks import Task

#: Numbers in memory at once while the paths of many checkpoints are multiplied out.
_LARGEST_STACK = 2**26


@neutral_members
class Run:
    """A run folder, opened for reading.

    Args:
        path: the folder that ``mechgrok train`` wrote.

    Raises:
        UserError: the folder is not a run, or was made by a newer version.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        self.config = read_config(self.path)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}: {self.task}, {len(self.steps)} checkpoints)"

    def _repr_html_(self) -> str:
        from mechgrok.runs.facts import facts

        rows = facts(self) if self.steps else {"task": str(self.task)}
        return html_table(str(self.path), {name: [value] for name, value in rows.items()})

    @property
    def name(self) -> str:
        """The folder's name, which labels the run in figures."""
        return self.path.resolve().name

    @property
    def task(self) -> Task:
        """The task with its data and split."""
        return self.config.task

    def task_at(self, step: int) -> Task:
        """The task with the train/test split in force at ``step``, which a phase may change."""
        return self.config.at(step).task

    @cached_property
    def steps(self) -> list[int]:
        """The steps that have a checkpoint, in order."""
        return checkpoints(self.path)

    def refreshed(self) -> Run:
        """The run with the folder's current files; configuration and data are reused."""
        run = object.__new__(Run)
        run.path, run.config = self.path, self.config
        return run

    @property
    def probes(self) -> dict[str, xr.Dataset]:
        """The answers of its probes, by analysis (``TrainingConfig(probes=…)``)."""
        from mechgrok.runs.probes import probe_files, read_probes

        stems = dict.fromkeys(file.parent.name for file in probe_files(self.path))
        answers_by_stem = {stem: read_probes(self.path, stem) for stem in stems}
        return {stem: answers for stem, answers in answers_by_stem.items() if answers is not None}

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """A row per evaluation: step, train/test loss and accuracy, L1 and L2 norm of the weights.

        Losses are the task's; L1 = Σ|w| and L2 = √Σw² run over all weights, masked.
        """
        return read_metrics(self.path)

    @property
    def imported(self) -> ImportOrigin | None:
        """The origin of imported weights; None for a run of mechgrok."""
        origin = self.config.origin
        return origin if isinstance(origin, ImportOrigin) else None

    @property
    def caveat(self) -> str | None:
        """A warning about an uncertain train/test split; None if the split is known."""
        return self.imported.caveat if self.imported else None

    def learned(self, side: str, accuracy: float | None = None, since: int = 0) -> Learned:
        """When the "train" or "test" curve meets its criterion; a NaN does not meet it.

        Empty if the steps are unknown: for an import without its split, or with a first checkpoint
        that already meets the criterion.

        Args:
            side: "train" or "test".
            accuracy: as for `milestones_at`.
            since: the first step to consider, and the step of the task's criterion.

        Raises:
            UserError: as for `milestones_at`.
        """
        task = self.task_at(since)
        quantity, level = task.train_criterion if side == "train" else task.criterion
        if accuracy is not None:
            quantity, level = "accuracy", self._checked_accuracy(accuracy)
        table = self.metrics[self.metrics.step >= since]
        curve = table.set_index("step")[f"{side}_{quantity}"]
        is_met = curve >= level if quantity == "accuracy" else curve <= level
        if self.caveat or (self.imported and is_met[:1].any()):
            return Learned()
        return Learned.of(is_met)

    @property
    def diverged(self) -> int | None:
        """The first evaluated step whose train loss is not finite; None where all are."""
        evaluated = zip(self.metrics.step, self.metrics.train_loss, strict=True)
        return next((int(step) for step, loss in evaluated if not isfinite(loss)), None)

    @property
    def t_mem(self) -> int | None:
        """The first evaluated step at which the *train* curve meets the task's train criterion.

        None if it never does, or if the step is unknown: for an import without its split, or with a
        first checkpoint that already meets the criterion.
        """
        return self.learned("train").first

    @property
    def t_gen(self) -> int | None:
        """The first evaluated step at which the *test* curve meets the task's criterion.

        None as for `t_mem`.
        """
        return self.learned("test").first

    @property
    def t_gen_sustained(self) -> int | None:
        """The first evaluated step from which on the *test* curve meets the criterion at all steps.

        It is known only up to the last evaluation: a longer run could collapse. None as for
        `t_mem`, and if the last evaluation does not meet the criterion.
        """
        return self.learned("test").sustained

    @property
    def collapses(self) -> tuple[Collapse, ...]:
        """The intervals after t_gen in which the *test* curve does not meet the criterion."""
        return self.learned("test").collapses

    @property
    def collapsed_share(self) -> float | None:
        """The share of the evaluations after t_gen in collapses; None without such evaluations."""
        return self.learned("test").collapsed_share

    @property
    def tau_grok(self) -> float | None:
        """τ_grok = t_gen / t_mem; None where either is not reached."""
        return self.milestones.get("tau_grok")

    @property
    def milestones(self) -> dict[str, float]:
        """The reached milestones by name: t_mem, t_gen, t_gen_sustained, t_collapse and tau_grok.

        ``t_collapse`` is the step of the first collapse. ``phase_1`` and so on are the steps at
        which phases began.
        """
        return self.milestones_at(None)

    def milestones_at(self, accuracy: float | None) -> dict[str, float]:
        """`milestones` at another threshold.

        Args:
            accuracy: the train and test accuracy that counts as learned, a share (version 2 of the
                paper uses 0.9, version 3 0.95); None for the task's own criterion.

        Raises:
            UserError: the accuracy is not a share, or the task has no accuracy.
        """
        t_mem, test = self.learned("train", accuracy).first, self.learned("test", accuracy)
        reached = {
            "t_mem": t_mem,
            "t_gen": test.first,
            "t_gen_sustained": test.sustained,
            "t_collapse": test.collapses[0].step if test.collapses else None,
            "tau_grok": test.first / t_mem if t_mem and test.first is not None else None,
        }
        begun = {f"phase_{n}": phase.at for n, phase in enumerate(self.phases, 1)}
        return {name: value for name, value in reached.items() if value is not None} | begun

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The phases that have begun, up to the last evaluation."""
        last = -1 if self.metrics.empty else int(self.metrics.step.iloc[-1])
        training = self.config.training
        return tuple(phase for phase in (training.phases if training else ()) if phase.at <= last)

    def since_last_phase(self, accuracy: float | None = None) -> dict[str, int]:
        """The reached ones of t_mem and t_gen, from the step on at which the last phase began.

        Steps count from the beginning of the run; those of a run without phases are its t_mem and
        t_gen.

        Args:
            accuracy: as for `milestones_at`.
        """
        since = self.phases[-1].at if self.phases else 0
        sides = {"t_mem": "train", "t_gen": "test"}
        steps = {name: self.learned(side, accuracy, since).first for name, side in sides.items()}
        return {name: step for name, step in steps.items() if step is not None}

    def _checked_accuracy(self, accuracy: float) -> float:
        if not 0 < accuracy <= 1:
            raise UserError(
                f"An accuracy of {accuracy:g} is not a share above 0: give one like 0.9."
            )
        if not self.metrics.empty and self.metrics.train_accuracy.isna().all():
            raise UserError(
                f"{self.path} has no accuracy, because its task is a regression: omit the accuracy "
                "to use the loss."
            )
        return accuracy

    @property
    def finished(self) -> bool:
        """Whether training is complete."""
        training = self.config.training
        if training is None:
            return True
        if not self.steps:
            return False
        last = self.steps[-1]
        if last >= training.steps:
            return True
        margin = training.until_grokked
        t_gen = self.learned("test", since=training.last_phase).first
        return margin is not None and t_gen is not None and last >= t_gen + margin

    @property
    def is_unlocked(self) -> bool:
        """Whether no process writes to the run and none was killed while writing."""
        return not (self.path / LOCK).exists()

    def file(self, step: int) -> Path:
        """The checkpoint file of a step, whether or not it exists."""
        return checkpoint_file(self.path, step)

    @contextmanager
    def _open(self, step: int) -> Any:
        """Open the checkpoint file of a step, memory-mapped.

        Raises:
            UserError: the step has no checkpoint, or its file is truncated or foreign.
        """
        self._check_step(step)
        with open_checkpoint(self.path, step) as file:
            yield file

    def _check_step(self, step: int) -> None:
        """Check that a step has a checkpoint, and that its weights have this run's shapes."""
        if os.path.lexists(self.file(step)):
            if weight_shapes(self.path, step) != self._shapes:
                raise UserError(
                    f"{self.file(step)} is not this run's checkpoint: its weights differ from the "
                    "first checkpoint's in name or shape."
                )
            return
        if not self.steps:
            raise UserError(f"{self.path} has no checkpoint yet.")
        nearest = min(self.steps, key=lambda other: abs(other - step))
        raise UserError(
            f"{self.path} has no checkpoint at step {step}; the nearest is at {nearest}."
        )

    def checkpoint(self, step: int | str) -> Checkpoint:
        """The checkpoint at ``step``: a number, where −1 is the last, or text such as "last".

        Raises:
            UserError: there is not exactly one such checkpoint.
        """
        step = self.checkpoint_step(step)
        self._check_step(step)
        saved = read_checkpoint(self.path, step)
        self._check_weights(saved)
        return saved

    def checkpoint_step(self, step: int | str) -> int:
        """The step of one checkpoint: a number, where −1 is the last, or text such as "last".

        Raises:
            UserError: there is not exactly one such checkpoint.
        """
        steps = self.select(step)
        if len(steps) != 1:
            raise UserError(f"{step!r} selects {len(steps)} checkpoints, but one is needed.")
        return steps[0]

    def _check_weights(self, saved: Checkpoint) -> None:
        """Check a checkpoint's weights against the wiring of this run's network.

        Raises:
            UserError: a weight is missing, foreign, or has another shape.
        """
        actual = {name: tuple(weight.shape) for name, weight in saved.weights.items()}
        expected = self.wiring.weights
        for name in {**expected, **actual}:
            if actual.get(name) != expected.get(name):
                raise UserError(
                    f"In the checkpoint at step {saved.step} of {self.path}, {name} has shape "
                    f"{actual.get(name, 'none')} instead of {expected.get(name, 'none')}, as "
                    "config.json specifies: the file is damaged, or belongs to another run."
                )

    def _resolve(self, step: int) -> int:
        return self.steps[step] if -len(self.steps) <= step < 0 else step

    def select(
        self, steps: int | str | Iterable[int] | None = None, among: Sequence[int] | None = None
    ) -> list[int]:
        """Validate a selection of steps, and sort it without duplicates; None selects all.

        Args:
            steps: a number or several (a list, a range, an array), where negative ones count from
                the last; or text in the form of ``--steps``: ``"0,2000"``, ``"0:30000:1000"``
                (start:stop:every), ``"last"``.
            among: the steps to choose from; default: those with a checkpoint.

        Raises:
            UserError: a step has no checkpoint (the message names the nearest), ``steps`` is empty,
                or it is neither numbers nor such text.
        """
        available = self.steps if among is None else list(among)
        if steps is None:
            return available
        numbers = parse_steps(steps, available) if isinstance(steps, str) else whole_numbers(steps)
        chosen = {available[step] if -len(available) <= step < 0 else step for step in numbers}
        for step in sorted(chosen - {*available}):
            self._check_step(step)
        return sorted(chosen)

    @cached_property
    def wiring(self) -> Wiring:
        """The network's groups of units, hidden layers and linear paths."""
        from mechgrok.models import wiring_of

        return wiring_of(self.config.model, self.task)

    @cached_property
    def _shapes(self) -> dict[str, list[int]]:
        return weight_shapes(self.path, self.steps[0])

    @property
    def weight_names(self) -> list[str]:
        """The names of the weights, in the model's order."""
        return list(self.wiring.weights)

    def weights(
        self, name: str, steps: Sequence[int] | None = None, *, masked: bool = True
    ) -> Float[Tensor, "step ..."]:
        """One weight at several steps; no other weight is read.

        Args:
            name: the weight's name, or a unique end of it.
            steps: the checkpoints to read; default: all.
            masked: multiply by the mask, if any, as the model does.
        """
        name = self.wiring.full_name(name)
        stack: Tensor | None = None
        steps = self.select(steps)
        for row, step in enumerate(steps):
            with self._open(step) as file:
                names = file.keys()
                weight: Tensor = in_single_precision(file.get_tensor(name))
                if masked and MASK + name in names:
                    weight = weight * file.get_tensor(MASK + name)
            if stack is None:
                stack = weight.new_empty(len(steps), *weight.shape)
            stack[row] = weight
        assert stack is not None
        return stack

    def input_side(
        self, steps: Sequence[int] | None = None, *, path: str | None = None
    ) -> Float[Tensor, "step d_vocab d_mlp"]:
        """The weight from every token to every neuron of the first hidden layer, per step.

        Args:
            steps: the checkpoints; default: all.
            path: the path from the tokens to the neurons: one of ``run.wiring.input_paths``, or
                "auto" for the path on which the answer depends; default: the direct path W_E W_in.

        Raises:
            UserError: the network has no such path, or its neurons have several input weights.
        """
        return self._multiplied(self.wiring.input_path(path or self.wiring.direct), steps)

    def input_sides(
        self, steps: Sequence[int] | None = None, *, path: str | None = None
    ) -> Float[Tensor, "path step d_vocab d_mlp"]:
        """`input_side` for each of a neuron's input weights; gated units have several.

        Args:
            steps: the checkpoints; default: all.
            path: as for `input_side`; "auto" selects all paths of a gated unit.

        Raises:
            UserError: the network has no such path.
        """
        import torch

        paths = self.wiring.paths(path or self.wiring.direct)
        sides = [self._multiplied(one, steps)[None] for one in paths]
        return sides[0] if len(sides) == 1 else torch.cat(sides)

    def output_side(
        self, steps: Sequence[int] | None = None
    ) -> Float[Tensor, "step d_mlp d_output"]:
        """W_out W_U of the last hidden layer: each neuron's weight to every output, by step."""
        return self._multiplied(self.wiring.output_path, steps)

    def embedding(self, steps: Sequence[int] | None = None) -> Float[Tensor, "step d_vocab width"]:
        """W_E, or W_in in a network without an embedding."""
        return self._multiplied(self.wiring.embedded, steps)

    def _multiplied(
        self, path: LinearPath, steps: Sequence[int] | None
    ) -> Float[Tensor, "step row column"]:
        """The product of a path's weights at several steps, in chunks that fit in memory."""
        import torch

        steps = self.select(steps)
        chunk = max(1, _LARGEST_STACK // self.wiring.n_parameters)
        parts = [steps[start : start + chunk] for start in range(0, len(steps), chunk)]
        return torch.cat(
            [path.product(lambda name, at=part: self.weights(name, at)) for part in parts]  # type: ignore[misc]
        )

    @property
    def n_parameters(self) -> int:
        """The number of weights, pruned ones included."""
        return sum(prod(shape) for shape in self._shapes.values())

    @cached_property
    def density(self) -> float | None:
        """The kept share of the masked weights' entries at the end; None for a dense run."""
        step = self._resolve(-1)
        self._check_step(step)
        return mask_density(self.path, step)

    @cached_property
    def masked_weights(self) -> frozenset[str]:
        """The names of the masked weights in the last checkpoint; no tensor is read."""
        with self._open(self._resolve(-1)) as file:
            names = file.keys()
        return frozenset(name.removeprefix(MASK) for name in names if name.startswith(MASK))

    @cached_property
    def mask(self) -> Mask | None:
        """The mask of the last checkpoint; None for a dense run."""
        return self.mask_at(-1)

    def mask_at(self, step: int) -> Mask | None:
        """The mask at ``step`` (edge-popup changes it as it trains); None for a dense run."""
        return self.checkpoint(step).mask

    def model(
        self,
        step: int | str = -1,
        *,
        device: str | torch.device = "cpu",
        return_positions: bool = False,
    ) -> HookedModel:
        """The network at ``step``: a live hooked model with its mask on, in evaluation mode.

        Args:
            step: a checkpoint, where a negative number counts from the last; or "last".
            device: the device.
            return_positions: let a transformer return logits at every position, ``[batch, pos,
                d_output]`` as in TransformerLens, instead of only the last.

        Raises:
            UserError: there is no such checkpoint, or the network has no positions.
        """
        from mechgrok.masks import apply_mask
        from mechgrok.models import HookedTransformer, load_weights, make_model

        saved = self.checkpoint(step)
        model = make_model(self.config.model, self.task)
        load_weights(model, saved.weights)
        if saved.mask is not None:
            apply_mask(model, saved.mask)
        if return_positions:
            if not isinstance(model, HookedTransformer):
                raise UserError(
                    f"A {self.config.model.kind} has one output per example: omit return_positions."
                )
            model.return_positions = True
        return model.eval().to(device)

    def to_transformer_lens(self, step: int = -1) -> Any:
        """TransformerLens's native model (a ``TransformerBridge``) with the logits of `model`.

        Raises:
            UserError: the model is an MLP, for which TransformerLens has no native model.
        """
        return self.model(step).tl()


#: A run, or the path of its folder.
RunLike = Run | str | PathLike[str]


@runtime_checkable
class RunCollection(Protocol):
    """Several runs by name; `mechgrok.Sweep` is one."""

    @property
    def runs(self) -> Mapping[str, Run]:
        """The runs, by name."""

    def stack(self, answers: Mapping[str, xr.Dataset]) -> xr.Dataset:
        """Combine datasets of the runs into one."""


def open_run(run: RunLike) -> Run:
    """Open the run in a folder; a `Run` is returned unchanged.

    Raises:
        UserError: the folder holds no run.
    """
    return run if isinstance(run, Run) else Run(Path(run))
