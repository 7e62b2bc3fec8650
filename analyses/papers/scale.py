"""The size of a paper's runs, and the sweep plans of its items.

A plan has base runs, one per seed, named after their network and task, and stages of derived runs.
Most runs keep only their first and last checkpoint; figures of weights over training, and runs
derived from an intermediate checkpoint, need more.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mechgrok.configuration import presets
from mechgrok.sweeps import Plan
from mechgrok.sweeps.plan import sort_stages

#: Base runs by name: the preset, and overrides of its settings.
BaseRuns = Mapping[str, tuple[str, Mapping[str, Any]]]
#: A stage of a plan, in the form of `Plan.read`.
Stage = dict[str, Any]
#: Multiple of a run's steps between checkpoints, which keeps only the first and the last.
_BEYOND_THE_END = 4


@dataclass(frozen=True)
class Size:
    """The size of a paper's runs: the paper's own, or one that trains in minutes.

    Attributes:
        base_runs: the base runs at this size.
        paper_steps: the number of the paper's steps represented by one step.
        seeds: the default number of seeds.
        seeds_of: the same for single base runs.
    """

    base_runs: BaseRuns
    paper_steps: int = 1
    seeds: int = 6
    seeds_of: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Scale:
    """The size and the seeds of the runs.

    Attributes:
        size: one of the paper's sizes.
        seeds: each sets both initialization and split; default: as many as the size says.
        quick: whether this is the paper's quick size.
        mnist: a folder with MNIST's four files; default: download.
    """

    size: Size
    seeds: tuple[int, ...] = ()
    quick: bool = False
    mnist: str | None = None

    def to_argv(self) -> list[str]:
        """The options of ``mechgrok paper`` for this scale.

        >>> size = Size({})
        >>> Scale(size, (0, 1, 2)).to_argv(), Scale(size, (4, 5)).to_argv(), Scale(size).to_argv()
        (['--seeds', '3'], ['--seeds', '4:6'], [])
        """
        argv = ["--quick"] if self.quick else []
        argv += ["--mnist", self.mnist] if self.mnist else []
        if not self.seeds:
            return argv
        first, last = self.seeds[0], self.seeds[-1]
        seeds = ",".join(map(str, self.seeds))
        if self.seeds == tuple(range(first, last + 1)):
            seeds = f"{first}:{last + 1}" if first else str(last + 1)
        return ["--seeds", seeds, *argv]

    def seeds_of(self, name: str) -> tuple[int, ...]:
        """The seeds of the base runs ``name``."""
        return self.seeds or tuple(range(self.size.seeds_of.get(name, self.size.seeds)))

    def steps(self, steps: int) -> int:
        """The number of steps for a number of the paper's steps."""
        if self.size.paper_steps == 1:
            return steps
        return max(10, 10 * round(steps / self.size.paper_steps / 10))

    def choose(self, full: str, quick: str) -> str:
        """The values of a setting: the paper's, or fewer for a quick run."""
        return quick if self.quick else full

    def plan(self, name: str, *stages: Stage, over: Mapping[str, str] | None = None) -> Plan:
        """The plan of the base runs ``name``, one per seed, and the stages of derived runs.

        Args:
            name: the name of the base runs in the size.
            stages: the stages of derived runs.
            over: values of settings, which have base runs for each combination.
        """
        preset, settings = self.size.base_runs[name]
        settings = dict(settings)
        if preset == "mnist" and self.mnist:
            settings["folder"] = self.mnist
        if "checkpoint_every" not in settings:
            steps = settings.get("steps", presets.load(preset)["training"]["steps"])
            settings["checkpoint_every"] = _BEYOND_THE_END * steps
        fields = {
            "name": f"quick-{name}" if self.quick else name,
            "preset": preset,
            "set": settings,
            "over": dict(over or {}),
            "seeds": list(self.seeds_of(name)),
            "stage": list(stages),
        }
        return Plan.read(fields)

    def stage(self, make: str, name: str, steps: int, **options: Any) -> Stage:
        """A stage of runs derived from each base run, which keep their first and last checkpoint.

        Args:
            make: the kind of derived run, as in a sweep's plan (`mechgrok.sweeps.Stage`).
            name: the stage's name, which selects its runs.
            steps: the most training steps, in the paper's steps.
            options: options of the derivation, each with one or several values;
                ``until_grokked`` in the paper's steps.
        """
        n = self.steps(steps)
        if "until_grokked" in options:
            options["until_grokked"] = self.steps(options["until_grokked"])
        every = {"checkpoint_every": _BEYOND_THE_END * n}
        return {"make": make, "name": name, "steps": n, **every, **options}


def join(plans: Iterable[Plan]) -> Plan:
    """Join plans into one, and merge the stages of plans with the same name."""
    joined: dict[str, Plan] = {}
    for plan in (plan for outer in plans for plan in (outer, *outer.also)):
        before = joined.get(plan.name, replace(plan, stages=()))
        stages = [stage for stage in plan.stages if stage not in before.stages]
        merged = sort_stages([*before.stages, *stages])
        joined[plan.name] = replace(before, stages=merged, also=())
    first, *rest = joined.values()
    return replace(first, also=tuple(rest))
