"""How long a sweep would take and how much it would write, from training a few steps of its kinds.

Runs of one kind have the same task, model, optimizer and way of being made: a step of each takes as
long, and a checkpoint as many bytes.
"""

import itertools
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from mechgrok.configuration.run_config import RunConfig
from mechgrok.configuration.schedule import checkpoint_steps, evaluation_steps, usual_interval
from mechgrok.derived import train_popup, train_ticket
from mechgrok.masks.methods import SCORES
from mechgrok.runs import Run
from mechgrok.sweeps.plan import Member
from mechgrok.training import train

#: Steps that are trained of each kind: evaluated every ten.
_STEPS = 60
#: Kinds that are measured; others are reckoned like the nearest of them in size.
_MOST_KINDS = 8
#: Bytes of a line of metrics.csv and of config.json with its folder.
_LINE, _CONFIG = 120, 8_000


@dataclass(frozen=True)
class Estimate:
    """What is still to be done of a sweep.

    Attributes:
        runs: that are missing.
        seconds: of one process, for all of them to their last step.
        bytes: on the disk.
        at_most: some of them may end before their last step (until_grokked).
    """

    runs: int
    seconds: float
    bytes: int
    at_most: bool


@dataclass(frozen=True)
class _Cost:
    """Of one kind: seconds of a step, an evaluation and a checkpoint; bytes of a checkpoint."""

    step: float
    evaluation: float
    saving: float
    size: int
    state: int


def estimate(members: Sequence[Member], missing: Sequence[Member]) -> Estimate:
    """Measure each kind among the members, and add up what is missing.

    Args:
        members: all runs of the plan, parents before their children.
        missing: those that are to be trained.
    """
    return Reckoning(members, missing).of(missing)


class Reckoning:
    """What runs of each kind cost, measured once, so that several parts of a plan can be reckoned.

    Args:
        members: all runs of the plan, parents before their children.
        missing: those whose kinds are measured; all unless given.
        most: kinds that are measured; others are reckoned like the nearest of them in size.
    """

    def __init__(
        self,
        members: Sequence[Member],
        missing: Sequence[Member] | None = None,
        *,
        most: int = _MOST_KINDS,
    ) -> None:
        missing = members if missing is None else missing
        self._roots = _roots(members)
        kinds: dict[str, Member] = {}
        for member in sorted(missing, key=self._size):
            kinds.setdefault(self._kind(member), member)
        every = max(1, -(-len(kinds) // most))
        measured = {
            kind: _measure(member, self._roots[member.name])
            for at, (kind, member) in enumerate(kinds.items())
            if (len(kinds) - 1 - at) % every == 0
        }
        self._costs = _nearest(list(kinds), measured)

    def _size(self, member: Member) -> int:
        return _size(self._roots[member.name]) * _width(member) ** 2

    def _kind(self, member: Member) -> str:
        return _kind(member, self._roots[member.name])

    def of(self, missing: Sequence[Member]) -> Estimate:
        """What these of the runs cost together."""
        seconds, n_bytes, at_most = 0.0, 0, False
        for member in missing:
            cost, root = self._costs[self._kind(member)], self._roots[member.name]
            steps, n_saved, rounds, early = _schedule(member, root)
            n_evaluated = len(evaluation_steps(steps))
            seconds += rounds * (
                steps * cost.step + n_evaluated * cost.evaluation + n_saved * cost.saving
            )
            n_kept = min(n_saved, root.recipe.keep or n_saved)
            n_bytes += rounds * (n_kept * cost.size + cost.state + n_evaluated * _LINE + _CONFIG)
            at_most |= early
        return Estimate(len(missing), seconds, n_bytes, at_most)


def _roots(members: Sequence[Member]) -> dict[str, RunConfig]:
    """The configuration of the base run that each member goes back to."""
    roots: dict[str, RunConfig] = {}
    for member in members:
        roots[member.name] = member.config or roots[str(member.parent)]
    return roots


def _size(root: RunConfig) -> int:
    return (root.model.d_model or 1) * root.model.d_mlp * root.model.n_layers


def _width(member: Member) -> int:
    """How many times wider it is than the run that it goes back to."""
    return int(str(member.options.get("width") or 1))


def _kind(member: Member, root: RunConfig) -> str:
    """What the cost of a step depends on."""
    task = root.task.model_dump(mode="json", exclude={"split_seed", "label_seed"})
    training = root.recipe.model_dump(
        mode="json", include={"optimizer", "transforms", "dropout", "batch_size", "l1", "l2"}
    )
    return json.dumps(
        [member.make, _width(member), task, root.model.model_dump(mode="json"), training]
    )


def _measure(member: Member, root: RunConfig) -> _Cost:
    """Train a few steps into a folder that is thrown away."""
    brief: dict[str, object] = {"steps": _STEPS, "checkpoint_every": _STEPS, "until_grokked": None}
    training = root.recipe.model_copy(
        update={**brief, "checkpoint_at": (), "keep": None, "probes": ()}
    )
    times: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"

        def note(row: Mapping[str, float]) -> None:
            times.append(time.perf_counter())

        run = train(out, root.model_copy(update={"training": training}), progress=note)
        if member.make is not None:
            times.clear()
            make = {"ticket": train_ticket, "popup": train_popup}[member.make]
            how: dict[str, Any] = {"at": 0, "rate": float(member.options.get("rate") or 0.6)}
            if member.make == "ticket":
                # Before training some layer may hold nothing but a network's smallest weights.
                how["scope"] = "layer"
            if _width(member) > 1:
                how["width"] = _width(member)
            run = make(run, Path(folder) / "made", progress=note, **how)
        saving = time.perf_counter() - times[-1]
        evaluation = _evaluation(run)
        ten = median(after - before for before, after in itertools.pairwise(times))
        state = (run.path / "resume.safetensors").stat().st_size
        size = run.file(_STEPS).stat().st_size
        return _Cost(max(0.0, ten - evaluation) / 10, evaluation, saving, size, 2 * state)


def _evaluation(run: Run) -> float:
    """Seconds of one evaluation."""
    from mechgrok.tasks import Examples
    from mechgrok.training.loop import evaluate

    model = run.model()
    train, test = (
        Examples(model.encode(s.inputs), s.labels) for s in (run.task.train, run.task.test)
    )
    took = []
    for _ in range(5):
        began = time.perf_counter()
        evaluate(model, run.task, train, test)
        took.append(time.perf_counter() - began)
    return median(took)


def _nearest(kinds: Sequence[str], measured: Mapping[str, _Cost]) -> dict[str, _Cost]:
    """Each kind's cost, or that of the next larger one that was measured."""
    nearest: dict[str, _Cost] = {}
    for kind in reversed(kinds):
        nearest[kind] = measured.get(kind) or nearest[list(nearest)[-1]]
    return nearest


def _schedule(member: Member, root: RunConfig) -> tuple[int, int, int, bool]:
    """Steps, checkpoints, rounds of training, and whether it may end earlier."""
    options = member.options
    steps = int(options.get("steps") or root.recipe.steps)
    every = int(options.get("checkpoint_every") or 0)
    if not every:
        every = usual_interval(steps) if "steps" in options else root.recipe.checkpoint_every
    pruning = SCORES.describe(options.get("method") or "magnitude")
    rounds = int((pruning | dict(options)).get("rounds") or 3) if pruning["name"] == "imp" else 1
    own = options if member.make is not None else {"until_grokked": root.recipe.until_grokked}
    early = own.get("until_grokked") is not None
    return steps, len(checkpoint_steps(steps, every, root.recipe.checkpoint_at)), rounds, early
