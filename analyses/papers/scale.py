"""How large the runs of a paper are, and the plans of sweeps in which its items describe them.

A plan has base runs with a seed each, under the name of their network and task, and stages of runs
made from them. Most runs keep only their first and last checkpoint: more are needed where a figure
shows weights over training, or where further runs are made from a checkpoint in between.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mechgrok.configuration import presets
from mechgrok.sweeps import Plan

#: Base runs by name: the preset, and the settings that differ from it.
BaseRuns = Mapping[str, tuple[str, Mapping[str, Any]]]
#: A stage of a plan, as `Plan.read` takes it.
Stage = dict[str, Any]
#: A checkpoint every so many times the steps of a run leaves the first and the last.
_BEYOND_THE_END = 4


@dataclass(frozen=True)
class Size:
    """The size of a paper's runs: that of the paper, or one that trains in minutes.

    Attributes:
        base_runs: the base runs at this size.
        paper_steps: the number of the paper's steps for which one step stands.
    """

    base_runs: BaseRuns
    paper_steps: int = 1


@dataclass(frozen=True)
class Scale:
    """The size and the seeds of the runs.

    Attributes:
        size: of the paper's sizes.
        seeds: of weights and split together.
        quick: whether it is the paper's quick size.
        mnist: a folder with MNIST's four files; they are downloaded unless given.
    """

    size: Size
    seeds: tuple[int, ...] = (0, 1, 2)
    quick: bool = False
    mnist: str | None = None

    def to_argv(self) -> list[str]:
        """The options of ``mechgrok paper`` that choose this scale.

        >>> size = Size({})
        >>> Scale(size, (0, 1, 2)).to_argv(), Scale(size, (4, 5)).to_argv()
        (['--seeds', '3'], ['--seeds', '4:6'])
        """
        first, last = self.seeds[0], self.seeds[-1]
        seeds = ",".join(map(str, self.seeds))
        if self.seeds == tuple(range(first, last + 1)):
            seeds = f"{first}:{last + 1}" if first else str(last + 1)
        quick = ["--quick"] if self.quick else []
        return ["--seeds", seeds, *quick, *(["--mnist", self.mnist] if self.mnist else [])]

    def steps(self, steps: int) -> int:
        """The number of steps that stands for so many of the paper's."""
        if self.size.paper_steps == 1:
            return steps
        return max(10, 10 * round(steps / self.size.paper_steps / 10))

    def choose(self, full: str, quick: str) -> str:
        """The values of a setting: those of the paper, or the fewer ones of a quick run."""
        return quick if self.quick else full

    def plan(self, name: str, *stages: Stage) -> Plan:
        """The base runs called ``name``, one a seed, and the stages of runs made from them."""
        preset, settings = self.size.base_runs[name]
        settings = dict(settings)
        if preset == "mnist" and self.mnist:
            settings["folder"] = self.mnist
        if "checkpoint_every" not in settings:
            steps = settings.get("steps", presets.load(preset)["training"]["steps"])
            settings["checkpoint_every"] = _BEYOND_THE_END * steps
        name = f"quick-{name}" if self.quick else name
        fields = {"name": name, "preset": preset, "set": settings, "seeds": list(self.seeds)}
        return Plan.read(fields | {"stage": list(stages)})

    def stage(self, make: str, name: str, steps: int, **options: Any) -> Stage:
        """Runs made from each base run, which keep their first and last checkpoint.

        Args:
            make: how they are made, as in a sweep's plan (`mechgrok.sweeps.Stage`).
            name: of the stage, by which its runs are selected.
            steps: the number of the paper's steps for which they train at most.
            options: of what makes them, each a value or several; ``until_grokked`` in the paper's
                steps.
        """
        n = self.steps(steps)
        if "until_grokked" in options:
            options["until_grokked"] = self.steps(options["until_grokked"])
        every = {"checkpoint_every": _BEYOND_THE_END * n}
        return {"make": make, "name": name, "steps": n, **every, **options}


def join(plans: Iterable[Plan]) -> Plan:
    """Several plans as one, in which plans of one name are one with the stages of all."""
    joined: dict[str, Plan] = {}
    for plan in (part for whole in plans for part in (whole, *whole.also)):
        before = joined.get(plan.name, replace(plan, stages=()))
        stages = [stage for stage in plan.stages if stage not in before.stages]
        joined[plan.name] = replace(before, stages=(*before.stages, *stages), also=())
    first, *rest = joined.values()
    return replace(first, also=tuple(rest))
