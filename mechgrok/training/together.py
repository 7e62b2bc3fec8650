"""Members trained together: networks of one shape in one loop, each into its own run folder.

A lone small network leaves most of a machine idle: a step is many operations of a few microseconds.
With a leading member axis each is done for all members at once. Seeds, splits, masks, learning
rates, weight decays, steps and checkpoints are each member's own.
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
from mechgrok.global_state import in_neutral_state
from mechgrok.models import HookedModel
from mechgrok.optimization.fused import TorchOptimizer
from mechgrok.optimization.optimizers import load_optimizer, make_optimizers
from mechgrok.runs import Run
from mechgrok.runs.checkpoint import Checkpoint
from mechgrok.runs.folder import check_room, recover
from mechgrok.runs.lock import writing
from mechgrok.runs.state import read_state
from mechgrok.tasks import Task
from mechgrok.training import create_run
from mechgrok.training.bundle import Bundle, CannotStack
from mechgrok.training.captured import step_of
from mechgrok.training.divergence import Diverged
from mechgrok.training.loop import is_complete, open_resumable, train_to_end
from mechgrok.training.machine import find_device, interrupts, threads
from mechgrok.training.recorder import Interrupted, RunRecorder, load_for_training

#: Called after every evaluation of a member with its folder and its row of ``metrics.csv``.
MemberProgress = Callable[[Path, dict[str, float]], object]
#: How a member ended: with its run, or with an error.
MemberOutcome: TypeAlias = Run | UserError | Diverged | Interrupted
#: Called when a member ends.
Ended = Callable[[Path, MemberOutcome], object]

#: Members at a time: on a CPU more would not fit its cache.
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
    """Train many networks, those of one shape together, each into a folder of its own.

    Args:
        runs: what to train into each folder, which is absent or empty: a configuration, a preset's
            name, or a task for the default network.
        starts: the weights and mask that some of them start from; fresh ones unless given.
        size, device, progress, ended: as `resume_together` takes them.

    Raises:
        UserError: a folder cannot be used, or the device is not there. Nothing is written then.
        Interrupted: Ctrl-C; every member is saved, and `resume_together` continues them.
    """
    find_device(device)
    configs = {
        Path(folder): RunConfig.make(task=what)
        if isinstance(what, Task)
        else resolve_config(what, {})
        for folder, what in runs.items()
    }
    given = {Path(folder): start for folder, start in (starts or {}).items()}
    for folder in configs:
        check_room(folder, overwrite=False)
    for folder, config in configs.items():
        create_run(folder, config, given.get(folder))
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
    """Train many runs to their last steps, those of one shape together.

    Each member may be at another step. A member that is finished, or whose loss is not finite,
    leaves; the others continue. What cannot be stacked (its shape is its own, or its network or
    task computes something else with a leading axis) is trained alone.

    Resumed with the same members from the same step, each ends in exactly the weights that it would
    have had without a stop. With other members, or alone, the last digits differ.

    Args:
        folders: the runs.
        size: members at a time; 16 on a CPU and 256 on a GPU unless given.
        device: "auto", "cpu" or "cuda".
        progress: called after every evaluation of a member with its folder and row.
        ended: called when a member ends, with its folder and its outcome.

    Returns:
        The outcome of each, in the order of the folders: its run, or the error with which it left.

    Raises:
        UserError: the device is not there.
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
    """The run in a folder; None where it is finished, or cannot be resumed."""
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
    """Runs of one shape, at most so many together, in the order in which they came."""
    alike: dict[object, list[Run]] = defaultdict(list)
    for run in runs:
        alike[shape_of(run)].append(run)
    return [
        group[first : first + size]
        for group in alike.values()
        for first in range(0, len(group), size)
    ]


def shape_of(run: Run) -> tuple[object, ...]:
    """What the runs of one bundle have in common; all else may differ."""
    task, training, popup = run.task, run.config.recipe, run.config.popup
    n_train = task.n_sides[0]
    in_batches = (training.batch_size or n_train) < n_train
    return (
        run.config.model.model_dump_json(exclude={"init", "init_scale"}),
        task.model_dump_json(exclude={"split_seed", "noise_seed", "fixed_split", "train_fraction"}),
        task.n_sides,
        run.masked_weights,
        popup and (popup.rate, popup.train_weights),
        # The last batch of an epoch is smaller, so that epochs must end together.
        (training.batch_size, run.steps[-1]) if in_batches else None,
        training.threads,
        training.dropout > 0,
        training.looks_ahead,  # Who does costs the others a second gradient.
    )


@dataclass(eq=False)
class _Member:
    """One network of several; ``losses`` are those since its last evaluation."""

    recorder: RunRecorder
    model: HookedModel
    state: dict[str, Any]
    losses: list[Tensor] = field(default_factory=list)

    @property
    def path(self) -> Path:
        return self.recorder.run.path

    def record(
        self, row: dict[str, float], optimizer: TorchOptimizer, stopping: bool
    ) -> MemberOutcome | None:
        """Record an evaluation and save what is due; the member's outcome, if it ends here."""
        recorder = self.recorder
        try:
            recorder.record(row, self.losses)
            self.losses.clear()
            recorder.save(self.model, optimizer, stopping)
        except (UserError, Diverged) as error:
            return error
        if recorder.is_over:
            return Run(self.path)
        return Interrupted(recorder.step, self.path) if stopping else None


def _open(
    run: Run, locks: ExitStack, device: str, progress: MemberProgress | None, end: Ended
) -> _Member | None:
    """The network of a run that stays locked as long as ``locks`` do; None where that fails."""
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
    """Train a bundle until its last member has left."""
    if not members:
        return
    recorders = [member.recorder for member in members]
    optimizers = make_optimizers(
        [(member.model, member.recorder.run.config) for member in members],
        [recorder.step for recorder in recorders],
    )
    together = list(zip(members, optimizers, strict=True))
    for member, optimizer in together:
        load_optimizer(optimizer, member.model, member.state)
    with threads(recorders[0].training.threads), flushed_denormals(), interrupts() as interrupted:
        if len(together) > 1 and _is_stackable(together):
            while len(together) > 1:
                together = _train_until_some_leave(together, end, interrupted)
    for member, optimizer in together:
        _train_alone(member, optimizer, end)


#: Members with the optimizer that changes their weights, and maybe those of others.
_Bundled = list[tuple[_Member, TorchOptimizer]]


def _is_stackable(together: _Bundled) -> bool:
    try:
        _stack(together).check()
    except CannotStack as error:
        warn(f"{error}: its runs are trained one after another.")
        return False
    return True


def _stack(together: _Bundled) -> Bundle:
    return Bundle(
        [member.model for member, _ in together],
        [member.recorder.run for member, _ in together],
        list({id(optimizer): optimizer for _, optimizer in together}.values()),
        [member.recorder.step for member, _ in together],
    )


def _train_until_some_leave(together: _Bundled, end: Ended, interrupted: list[int]) -> _Bundled:
    """Train members until some of them have left; those that remain.

    Raises:
        Interrupted: Ctrl-C; all are saved.
    """
    bundle = _stack(together)
    step = step_of(bundle, [member.recorder.training for member, _ in together])
    # On a GPU departed members are kept in the batch until a quarter of it has left: that costs
    # less than to capture the step again.
    max_departed = len(bundle) // 4 if bundle.device.type == "cuda" else 0
    here = dict(enumerate(together))  # by their place in the bundle
    while here and len(bundle) - len(here) <= max_departed:
        outcomes = _evaluate(bundle, here, bool(interrupted))
        for index, outcome in outcomes.items():
            end(here.pop(index)[0].path, outcome)
        for outcome in outcomes.values():
            if isinstance(outcome, Interrupted):
                raise outcome
        if here:
            losses = step()
            for index, (member, _) in here.items():
                member.losses.append(losses[index])
                member.recorder.step += 1
    for index in set(range(len(bundle))) - here.keys():
        bundle.release(index)
    return list(here.values())


def _evaluate(
    bundle: Bundle, here: Mapping[int, tuple[_Member, TorchOptimizer]], stopping: bool
) -> dict[int, MemberOutcome]:
    """Evaluate the members for which that is due; the outcomes of those that end."""
    due = [index for index, (member, _) in here.items() if member.recorder.is_due(stopping)]
    rows = bundle.evaluate() if due else []
    outcomes = {}
    for index in due:
        member, optimizer = here[index]
        outcome = member.record(rows[index], optimizer, stopping)
        if outcome is not None:
            outcomes[index] = outcome
    return outcomes


def _train_alone(member: _Member, optimizer: TorchOptimizer, end: Ended) -> None:
    outcome: MemberOutcome
    try:
        train_to_end(member.recorder, member.model, optimizer)
        outcome = Run(member.path)
    except (UserError, Diverged) as error:
        outcome = error
    except Interrupted as stopped:
        end(member.path, stopped)
        raise
    end(member.path, outcome)
