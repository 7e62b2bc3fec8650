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

from mechgrok.configuration.run_config import RunConfig
from mechgrok.denormals import flushed_denormals
from mechgrok.errors import UserError, warn
from mechgrok.global_state import in_neutral_state
from mechgrok.models import HookedModel
from mechgrok.optimization.fused import TorchOptimizer
from mechgrok.optimization.optimizers import load_optimizer, make_optimizers
from mechgrok.runs import Run
from mechgrok.runs.checkpoint import Checkpoint
from mechgrok.runs.folder import check_room, settle
from mechgrok.runs.lock import writing
from mechgrok.runs.state import read_state
from mechgrok.training import create_run
from mechgrok.training.bundle import Bundle, CannotStack
from mechgrok.training.captured import step_of
from mechgrok.training.course import Course, Interrupted, trained_model
from mechgrok.training.divergence import Diverged
from mechgrok.training.loop import go_on, is_complete, opened_to_train
from mechgrok.training.machine import find_device, interrupts, threads

#: Called after every evaluation of a member with its folder and its row of ``metrics.csv``.
MemberProgress = Callable[[Path, dict[str, float]], object]
#: What became of a member: its run, or why it ended before its time.
Fate: TypeAlias = Run | UserError | Diverged | Interrupted
#: Called when a member ends.
Ended = Callable[[Path, Fate], object]

#: Members at a time: on a CPU more would not fit its cache.
USUAL_SIZE = {"cpu": 16, "cuda": 256}


@in_neutral_state
def train_together(
    runs: Mapping[Path, RunConfig],
    *,
    starts: Mapping[Path, Checkpoint] | None = None,
    size: int | None = None,
    device: str = "auto",
    progress: MemberProgress | None = None,
    ended: Ended | None = None,
) -> dict[Path, Fate]:
    """Train many networks, those of one shape together, each into a folder of its own.

    Args:
        runs: what to train into each folder, which is absent or empty.
        starts: the weights and mask that some of them start from; fresh ones unless given.
        size, device, progress, ended: as `resume_together` takes them.

    Raises:
        UserError: a folder cannot be used, or the device is not there. Nothing is written then.
        Interrupted: Ctrl-C; every member is saved and `resume_together` goes on with them.
    """
    find_device(device)
    for folder in runs:
        check_room(folder, overwrite=False)
    for folder, config in runs.items():
        create_run(folder, config, (starts or {}).get(folder))
    return resume_together(list(runs), size=size, device=device, progress=progress, ended=ended)


@in_neutral_state
def resume_together(
    folders: Sequence[str | Path],
    *,
    size: int | None = None,
    device: str = "auto",
    progress: MemberProgress | None = None,
    ended: Ended | None = None,
) -> dict[Path, Fate]:
    """Go on with many runs to their last steps, those of one shape together.

    Each member may be at another step. A member that is finished, or whose loss is not finite,
    leaves; the others go on. What cannot be stacked (its shape is its own, or its network or task
    computes something else with a leading axis) is trained alone.

    Resumed in the same company from the same step, members end in exactly the weights that they
    would have had without a stop. In other company, or alone, the last digits differ.

    Args:
        folders: the runs.
        size: members at a time; 16 on a CPU and 256 on a GPU unless given.
        device: "auto", "cpu" or "cuda".
        progress: called after every evaluation of a member with its folder and row.
        ended: called when a member ends, with its folder and what became of it.

    Returns:
        What became of each, in the order of the folders: its run, or the error with which it left.

    Raises:
        UserError: a folder holds no run that can be gone on with, or the device is not there.
        Interrupted: Ctrl-C; every member is saved.
    """
    device = find_device(device)
    fates: dict[Path, Fate] = {}

    def end(path: Path, fate: Fate) -> None:
        fates[path] = fate
        if ended:
            ended(path, fate)

    left: list[Run] = []
    for folder in map(Path, folders):
        try:
            run = opened_to_train(folder)
            done = is_complete(run) or not shape_of(run)  # A damaged checkpoint is found here.
        except UserError as error:
            end(folder, error)
            continue
        if done:
            end(folder, run)
        else:
            left.append(run)
    for runs in bundles(left, size or USUAL_SIZE[device]):
        with ExitStack() as held:
            members = [m for run in runs if (m := _open(run, held, device, progress, end))]
            _train(members, end)
    return {path: fates[path] for path in map(Path, folders)}


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
    """One network among others; ``losses`` are those since it was evaluated last."""

    course: Course
    model: HookedModel
    state: dict[str, Any]
    losses: list[Tensor] = field(default_factory=list)

    @property
    def path(self) -> Path:
        return self.course.run.path

    def look(self, row: dict[str, float], optimizer: TorchOptimizer, stopping: bool) -> Fate | None:
        """Note an evaluation and save what is due; what became of the member, if it ends here."""
        course = self.course
        try:
            course.note(row, self.losses)
            self.losses.clear()
            course.save(self.model, optimizer, stopping)
        except (UserError, Diverged) as error:
            return error
        if course.is_over:
            return Run(self.path)
        return Interrupted(course.step, self.path) if stopping else None


def _open(
    run: Run, held: ExitStack, device: str, progress: MemberProgress | None, end: Ended
) -> _Member | None:
    """The network of a run that is held for writing as long as ``held`` is; None where it fails."""
    path = run.path
    try:
        held.enter_context(writing(path))
        settle(path)
        step, state = read_state(path)
        course = Course(path, step, partial(progress, path) if progress else lambda row: None)
        return _Member(course, trained_model(course.run, step, device), state)
    except UserError as error:
        end(path, error)
        return None


def _train(members: list[_Member], end: Ended) -> None:
    """Train a bundle, those that are here, until its last member has left."""
    if not members:
        return
    optimizers = make_optimizers(
        [(m.model, m.course.run.config) for m in members], [m.course.step for m in members]
    )
    for member, optimizer in zip(members, optimizers, strict=True):
        load_optimizer(optimizer, member.model, member.state)
    with (
        threads(members[0].course.training.threads),
        flushed_denormals(),
        interrupts() as interrupted,
    ):
        together = list(zip(members, optimizers, strict=True))
        stackable = len(members) > 1 and _is_stackable(together)
        while stackable and len(together) > 1:
            together = _until_some_leave(together, end, interrupted)
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
        [member.course.run for member, _ in together],
        list({id(optimizer): optimizer for _, optimizer in together}.values()),
        [member.course.step for member, _ in together],
    )


def _until_some_leave(together: _Bundled, end: Ended, interrupted: list[int]) -> _Bundled:
    """Train members until a part of them has left; those that are left.

    Raises:
        Interrupted: Ctrl-C; all are saved.
    """
    bundle = _stack(together)
    step = step_of(bundle, [member.course.training for member, _ in together])
    here = dict(enumerate(together))  # by their place in the bundle
    while len(bundle) - len(here) <= _spare(bundle):
        stopping = bool(interrupted)
        fates: dict[int, Fate] = {}
        if any(member.course.is_due(stopping) for member, _ in here.values()):
            rows = bundle.evaluate()
            for index, (member, optimizer) in here.items():
                if member.course.is_due(stopping):
                    fate = member.look(rows[index], optimizer, stopping)
                    if fate is not None:
                        fates[index] = fate
        for index, fate in fates.items():
            end(here.pop(index)[0].path, fate)
        for fate in fates.values():
            if isinstance(fate, Interrupted):
                raise fate
        if not here:
            break
        losses = step()
        for index, (member, _) in here.items():
            member.losses.append(losses[index])
            member.course.step += 1
    for index in set(range(len(bundle))) - here.keys():
        bundle.release(index)
    return list(here.values())


def _spare(bundle: Bundle) -> int:
    """How many members may be gone before a bundle is made anew of the others: until then they are
    dragged along, which costs a GPU less than to capture the step again."""
    return len(bundle) // 4 if bundle.device.type == "cuda" else 0


def _train_alone(member: _Member, optimizer: TorchOptimizer, end: Ended) -> None:
    fate: Fate
    try:
        go_on(member.course, member.model, optimizer)
        fate = Run(member.path)
    except (UserError, Diverged) as error:
        fate = error
    except Interrupted as stopped:
        end(member.path, stopped)
        raise
    end(member.path, fate)
