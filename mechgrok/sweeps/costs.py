"""Estimating a sweep's time and disk space from a few steps of its largest runs."""

import itertools
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from mechgrok.configuration.run_config import RunConfig
from mechgrok.configuration.schedule import checkpoint_steps, evaluation_steps, usual_interval
from mechgrok.grammar import Value
from mechgrok.runs import Run
from mechgrok.sweeps.making import make_member
from mechgrok.sweeps.plan import BASE, Member

#: Settings of a network that change the cost of a run.
_SHAPE = {"d_model", "d_mlp", "n_layers"}
#: Steps for timing a run, and steps between two evaluations.
_STEPS, _BETWEEN = 60, 10
#: Bytes of a line of metrics.csv, and of config.json and the folder.
_LINE, _CONFIG = 120, 8_000


@dataclass(frozen=True)
class Estimate:
    """An upper bound on the cost of runs.

    Attributes:
        runs: the number of runs.
        seconds: the time for all of them in one process.
        bytes: the disk space.
    """

    runs: int
    seconds: float
    bytes: int


@dataclass(frozen=True)
class _Cost:
    """Seconds of a step (evaluations included) and of a checkpoint; bytes of its two files."""

    step: float
    saving: float
    size: int
    state: int


class CostModel:
    """Estimates the cost of runs by timing the largest run of each kind.

    Runs of one kind are made in the same way, and have the same task, architecture, optimizer and
    transforms.

    Args:
        members: all runs of the plan, parents before their children.
        missing: the runs to estimate; default: all.
    """

    def __init__(self, members: Sequence[Member], missing: Sequence[Member] | None = None) -> None:
        self._roots: dict[str, RunConfig] = {}  # of each member's base run
        for member in members:
            self._roots[member.name] = member.config or self._roots[str(member.parent)]
        largest: dict[str, Member] = {}
        for member in sorted(members if missing is None else missing, key=self._size):
            largest[self._kind(member)] = member
        self._costs = {
            kind: _measure(member, self._roots[member.name]) for kind, member in largest.items()
        }

    def _size(self, member: Member) -> int:
        root = self._roots[member.name]
        weights = (root.model.d_model or 1) * root.model.d_mlp * root.model.n_layers
        return weights * _width(member) ** 2 * root.task.d_output

    def _kind(self, member: Member) -> str:
        root = self._roots[member.name]
        training = root.recipe
        methods = [type(part).__name__ for part in (training.optimizer, *training.transforms)]
        return json.dumps([member.make, root.task.name, root.model.kind, methods])

    def of(self, runs: Sequence[Member]) -> Estimate:
        """The total cost of runs."""
        seconds, n_bytes = 0.0, 0
        for member in runs:
            cost, root = self._costs[self._kind(member)], self._roots[member.name]
            steps, n_saved, rounds = _schedule(member, root)
            seconds += rounds * (steps * cost.step + n_saved * cost.saving)
            n_kept = min(n_saved, root.recipe.keep or n_saved)
            lines = len(evaluation_steps(steps)) * _LINE
            n_bytes += rounds * (n_kept * cost.size + cost.state + lines + _CONFIG)
        return Estimate(len(runs), seconds, n_bytes)


def _width(member: Member) -> int:
    """The factor by which a run is wider than its base run."""
    return int(str(member.options.get("width") or 1))


def _measure(member: Member, root: RunConfig) -> _Cost:
    """Time a few steps in a temporary folder."""
    brief: dict[str, object] = {"steps": _STEPS, "checkpoint_every": _STEPS, "until_grokked": None}
    brief |= {"checkpoint_at": (), "keep": None, "probes": (), "phases": ()}
    config = root.model_copy(update={"training": root.recipe.model_copy(update=brief)})
    times: list[float] = []

    def note(row: dict[str, float]) -> None:
        times.append(time.perf_counter())

    def make(member: Member) -> Run:
        times.clear()
        return make_member(Path(folder), member, progress=note)

    with tempfile.TemporaryDirectory() as folder:
        run = make(Member("run", BASE, {}, config))
        if member.make is not None:
            pruned: dict[str, Value] = {"at": 0, "rate": member.options.get("rate") or 0.6}
            options: dict[str, dict[str, Value]] = {
                # Globally pruned initial weights may leave a layer empty.
                "ticket": pruned | {"scope": "layer"},
                "popup": pruned | {"width": _width(member)},
                "retrain": {name: member.options[name] for name in _SHAPE & {*member.options}},
            }
            made = Member("made", member.stage, {}, None, member.make, "run", options[member.make])
            run = make(made)
        saving = time.perf_counter() - times[-1]
        step = median(after - before for before, after in itertools.pairwise(times)) / _BETWEEN
        state = (run.path / "resume.safetensors").stat().st_size
        return _Cost(step, saving, run.file(_STEPS).stat().st_size, 2 * state)


def _schedule(member: Member, root: RunConfig) -> tuple[int, int, int]:
    """Steps, checkpoints and rounds of training."""
    options = member.options
    steps = int(options.get("steps") or root.recipe.steps)
    every = int(options.get("checkpoint_every") or 0)
    if not every:
        every = usual_interval(steps) if "steps" in options else root.recipe.checkpoint_every
    rounds = int(options.get("rounds") or 3) if options.get("method") == "imp" else 1
    return steps, len(checkpoint_steps(steps, every, root.recipe.checkpoint_at)), rounds
