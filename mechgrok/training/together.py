"""Training together: networks of one shape in one loop, each with its own run folder.

A single small network leaves most of a machine idle: a step is many operations of a few
microseconds. A leading member axis runs each operation for all members at once. Every member has
its own seeds, split, mask, learning rate, weight decay, steps and checkpoints.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from torch import Tensor

from mechgrok.configuration.run_config import RunConfig, resolve_config
from mechgrok.denormals import flushed_denormals
from mechgrok.errors import UserError, warn
from mechgrok.global_state import in_neutral_state, threads
from mechgrok.models import HookedModel
from mechgrok.optimization.fused import TorchOptimizer
from mechgrok.runs import Run
from mechgrok.runs.checkpoint import Checkpoint
from mechgrok.runs.folder import check_room, recover
from mechgrok.runs.lock import writing
from mechgrok.runs.state import read_state
from mechgrok.tasks import Task
from mechgrok.training import create_run
from mechgrok.training.bundle import Bundle, CannotStack
from mechgrok.training.captured import make_step
from mechgrok.training.divergence import Diverged
from mechgrok.training.loop import is_complete, open_resumable, train_to_end
from mechgrok.training.machine import find_device, interrupts
from mechgrok.training.optimizer import resume_optimizers
from mechgrok.training.optimizer_state import optimizer_state
from mechgrok.training.recorder import Interrupted, RunRecorder, load_for_training

#: Called after every evaluation of a member with its folder and its row of ``metrics.csv``.
MemberProgress = Callable[[Path, dict[str, float]], object]
#: How a member ended: with its run, or with an error.
MemberOutcome: TypeAlias = Run | UserError | Diverged | Interrupted
#: Called when a member ends.
Ended = Callable[[Path, MemberOutcome], object]

#: Members per bundle; more would not fit a CPU's cache.
USUAL_SIZE = {"cpu": 16, "cuda": 256}


@in_neutral_state
def train_together(
    runs: Mapping[str | Path, RunConfig | Task | str],
    *,
    starts: Mapping[str | Path, Checkpoint] | None = None,
    size: int | None = None,
    device: str = "auto",
    progress: MemberProgress | None = None,
    ended: Ended | None = None,
) -> dict[Path, MemberOutcome]:
    """Train many networks, each into its own folder; networks of one shape train together.

    Args:
        runs: for each absent or empty folder a configuration, the name of a preset, or a task for
            the default network.
        starts: weights and masks to start from, by folder; default: fresh weights.
        size, device, progress, ended: as for `resume_together`.

    Raises:
        UserError: a folder cannot be used, or the device is unavailable; nothing is written.
        Interrupted: Ctrl-C; every member is saved, and `resume_together` continues them.
    """
    find_device(device)
    configs = {
        Path(folder): RunConfig.make(task=choice)
        if isinstance(choice, Task)
        else resolve_config(choice, {})
        for folder, choice in runs.items()
    }
    checkpoints = {Path(folder): start for folder, start in (starts or {}).items()}
    for folder in configs:
        check_room(folder, overwrite=False)
    for folder, config in configs.items():
        create_run(folder, config, checkpoints.get(folder))
    return resume_together(list(configs), size=size, device=device, progress=progress, ended=ended)


@in_neutral_state
def resume_together(
    folders: Sequence[str | Path],
    *,
    size: int | None = None,
    device: str = "auto",
    progress: MemberProgress | None = None,
    ended: Ended | None = None,
) -> dict[Path, MemberOutcome]:
    """Train many runs to their last steps; runs of one shape train together.

    Members may be at different steps. A member leaves when it finishes or diverges; the others
    continue. A run trains alone if no other has its shape, or if its network or task computes
    something else with a leading axis.

    Resumed with the same members from the same step, each run ends with exactly the weights of an
    uninterrupted one. With other members, or alone, the last digits differ.

    Args:
        folders: the runs' folders.
        size: members per bundle; default: 16 on a CPU, 256 on a GPU.
        device: "auto", "cpu" or "cuda".
        progress: called with a member's folder and row of metrics after every evaluation.
        ended: called with a member's folder and outcome when it ends.

    Returns:
        Each outcome, in the order of the folders: the run, or the error that ended it.

    Raises:
        UserError: the device is unavailable.
        Interrupted: Ctrl-C; every member is saved.
    """
    device = find_device(device)
    outcomes: dict[Path, MemberOutcome] = {}

    def end(path: Path, outcome: MemberOutcome) -> None:
        outcomes[path] = outcome
        if ended:
            ended(path, outcome)

    paths = [Path(folder) for folder in folders]
    unfinished = [run for path in paths if (run := _open_unfinished(path, end)) is not None]
    for runs in bundles(unfinished, size or USUAL_SIZE[device]):
        with ExitStack() as locks:
            members = [m for run in runs if (m := _open(run, locks, device, progress, end))]
            _train(members, end)
    return {path: outcomes[path] for path in paths}


def _open_unfinished(path: Path, end: Ended) -> Run | None:
    """The run in a folder; None if it is finished or cannot be resumed."""
    try:
        run = open_resumable(path)
        if shape_of(run) and not is_complete(run):  # A damaged checkpoint raises here.
            return run
    except UserError as error:
        end(path, error)
    else:
        end(path, run)
    return None


def bundles(runs: Iterable[Run], size: int) -> list[list[Run]]:
    """Group runs by shape, at most ``size`` to a group, in their order."""
    by_shape: dict[object, list[Run]] = defaultdict(list)
    for run in runs:
        by_shape[shape_of(run)].append(run)
    return [
        group[first : first + size]
        for group in by_shape.values()
        for first in range(0, len(group), size)
    ]


def shape_of(run: Run) -> tuple[object, ...]:
    """What the runs of one bundle must share: shapes, and the steps of phases to come."""
    masked, step, config = run.masked_weights, run.steps[-1], run.config
    training, popup = config.recipe, config.popup
    phases = tuple(phase.at for phase in training.phases if phase.at > step)
    return (
        config.model.model_dump_json(exclude={"init", "init_scale"}),
        masked,
        popup and (popup.rate, popup.train_weights),
        training.threads,
        # A phase may change the shapes, so it must begin for all at once.
        phases and (step, *phases),
        *(_shape_of_steps(config.at(begin), step) for begin in (step, *phases)),
    )


def _shape_of_steps(config: RunConfig, step: int) -> tuple[object, ...]:
    """The settings that decide the shapes of a training step."""
    task, training = config.task, config.recipe
    n_train = task.n_sides[0]
    in_batches = (training.batch_size or n_train) < n_train
    return (
        task.model_dump_json(exclude={"split_seed", "noise_seed", "fixed_split", "train_fraction"}),
        task.n_sides,
        # The last batch of an epoch is smaller, so epochs must end together.
        (training.batch_size, step) if in_batches else None,
        training.dropout > 0,
        training.looks_ahead,  # It costs all members a second gradient.
    )


@dataclass(eq=False)
class _Member:
    """One member of a bundle, with its losses since the last evaluation.

    Attributes:
        state: the optimizer's state at the step at which the member entered the bundle.
        optimizer: the optimizer in the bundle, which several members may share.
    """

    recorder: RunRecorder
    model: HookedModel
    state: dict[str, Any]
    losses: list[Tensor] = field(default_factory=list)
    optimizer: TorchOptimizer = field(init=False)

    @property
    def path(self) -> Path:
        return self.recorder.run.path

    def record(self, row: dict[str, float], stopping: bool) -> MemberOutcome | None:
        """Record and save an evaluation; returns the outcome if the member ends here."""
        recorder = self.recorder
        try:
            recorder.record(row, self.losses)
            self.losses.clear()
            recorder.save(self.model, self.optimizer, stopping)
        except (UserError, Diverged) as error:
            return error
        if recorder.is_over:
            return Run(self.path)
        return Interrupted(recorder.step, self.path) if stopping else None


def _open(
    run: Run, locks: ExitStack, device: str, progress: MemberProgress | None, end: Ended
) -> _Member | None:
    """Lock a run in ``locks`` and load its network; None if that fails."""
    path = run.path
    try:
        locks.enter_context(writing(path))
        recover(path)
        step, state = read_state(path)
        callback = partial(progress, path) if progress else lambda row: None
        recorder = RunRecorder(path, step, callback)
        return _Member(recorder, load_for_training(recorder.run, step, device), state)
    except UserError as error:
        end(path, error)
        return None


def _train(members: list[_Member], end: Ended) -> None:
    """Train the members of a bundle to their ends."""
    if not members:
        return
    n_threads = members[0].recorder.training.threads
    with threads(n_threads), flushed_denormals(), interrupts() as interrupted:
        if len(members) > 1 and _is_stackable(members):
            while len(members) > 1:
                members = _train_until_some_leave(members, end, interrupted)
    for member in members:
        _train_alone(member, end)


def _is_stackable(members: list[_Member]) -> bool:
    try:
        _stack(members).check()
    except CannotStack as error:
        warn(f"{error}: its runs are trained one after another.")
        return False
    return True


def _stack(members: list[_Member]) -> Bundle:
    runs = [member.recorder.run for member in members]
    steps = [member.recorder.step for member in members]
    optimizers = resume_optimizers(
        [(member.model, run.config) for member, run in zip(members, runs, strict=True)],
        steps,
        [member.state for member in members],
    )
    for member, optimizer in zip(members, optimizers, strict=True):
        member.optimizer = optimizer
    distinct = list({id(optimizer): optimizer for optimizer in optimizers}.values())
    return Bundle([member.model for member in members], runs, distinct, steps)


def _train_until_some_leave(
    members: list[_Member], end: Ended, interrupted: list[int]
) -> list[_Member]:
    """Train members until some have left, or a phase begins; returns the remaining ones.

    Raises:
        Interrupted: Ctrl-C; all members are saved.
    """
    bundle = _stack(members)
    step = make_step(bundle)
    first = members[0].recorder
    n_steps = first.training.next_phase(first.step) - first.step
    # On a GPU, members that have left stay in the batch until they make up a quarter of it: that
    # costs less than capturing the step again.
    max_departed = len(bundle) // 4 if bundle.device.type == "cuda" else 0
    remaining = dict(enumerate(members))  # by index in the bundle
    while remaining and len(bundle) - len(remaining) <= max_departed and n_steps > 0:
        outcomes = _evaluate(bundle, remaining, bool(interrupted))
        for index, outcome in outcomes.items():
            end(remaining.pop(index).path, outcome)
        for outcome in outcomes.values():
            if isinstance(outcome, Interrupted):
                raise outcome
        if remaining:
            losses = step()
            n_steps -= 1
            for index, member in remaining.items():
                member.losses.append(losses[index])
                member.recorder.step += 1
    for member in remaining.values():
        member.state = optimizer_state(member.optimizer, member.model)
    return list(remaining.values())


def _evaluate(
    bundle: Bundle, members: Mapping[int, _Member], stopping: bool
) -> dict[int, MemberOutcome]:
    """Evaluate the members that are due; returns the outcomes of those that end."""
    due = [index for index, member in members.items() if member.recorder.is_due(stopping)]
    rows = bundle.evaluate() if due else []
    outcomes = {index: members[index].record(rows[index], stopping) for index in due}
    return {index: outcome for index, outcome in outcomes.items() if outcome is not None}


def _train_alone(member: _Member, end: Ended) -> None:
    outcome: MemberOutcome
    try:
        train_to_end(member.recorder, member.model, member.state)
        outcome = Run(member.path)
    except (UserError, Diverged) as error:
        outcome = error
    except Interrupted as stopped:
        end(member.path, stopped)
        raise
    end(member.path, outcome)
