"""The runs that the paper's figures are made of, so that items which want the same run share it.

Everything is a plan of a sweep: base runs by the name of their network and task, and stages made of
them. Few runs keep more checkpoints than the first and the last: those of which a figure looks at
weights, and those of which others are made.
"""

from typing import Any

from mechgrok.analyses.papers.scale import Scale
from mechgrok.sweeps import Plan

#: The base runs at the paper's size: the preset, and what is set besides.
_FULL: dict[str, tuple[str, dict[str, Any]]] = {
    "add": ("paper-mlp", {"checkpoint_every": 1000, "checkpoint_at": [400]}),
    "half": ("paper-mlp", {"train_fraction": 0.5, "steps": 12_000, "checkpoint_at": [1000]}),
    # Holds θ₀, which is all that a wide network is made from.
    "start": ("paper-mlp", {"train_fraction": 0.5, "steps": 10}),
    "transformer": ("paper-transformer", {"steps": 10_000}),
    # As wide as in the authors' code.
    "narrow-transformer": ("paper-transformer", {"d_model": 128, "steps": 10_000}),
    "sub": ("sub", {}),
    "mul": ("mul", {}),
    "x2y2": ("x2y2", {}),
    "random": ("random", {}),
    "parity": ("parity", {"checkpoint_every": 100}),
    "polynomial": ("polynomial", {"checkpoint_every": 200}),
    "mnist": ("mnist", {}),
}
_SMALL = {"p": 31, "d_model": 64, "weight_decay": 3.0, "steps": 1200}
_GROKS: dict[str, Any] = {"d_model": 256, "weight_decay": 2.0, "checkpoint_at": [40]}
_TRANSFORMER = {"p": 23, "pairs": "ordered", "d_model": 32, "d_mlp": 64, "steps": 600}
#: What stands for them in a quick run.
_QUICK: dict[str, tuple[str, dict[str, Any]]] = {
    "add": ("quick", _GROKS | {"train_fraction": 0.45, "steps": 1200, "checkpoint_every": 100}),
    "half": ("quick", _GROKS | {"train_fraction": 0.5, "steps": 600}),
    "start": ("quick", {"train_fraction": 0.5, "steps": 10}),
    "transformer": ("paper-transformer", _TRANSFORMER),
    "narrow-transformer": ("paper-transformer", _TRANSFORMER | {"d_model": 16}),
    "sub": ("sub", _SMALL),
    "mul": ("mul", _SMALL),
    "x2y2": ("x2y2", _SMALL),
    "random": ("random", _SMALL),
    "parity": ("parity", {"steps": 1000, "checkpoint_every": 50}),
    "polynomial": ("polynomial", {"d_mlp": 20, "steps": 1000, "checkpoint_every": 50}),
    "mnist": ("digits", {"steps": 1000}),
}
#: Checkpoints so far apart are the first and the last.
_BEYOND = 4

Stage = dict[str, Any]


def runs(scale: Scale, name: str, *stages: Stage, also: tuple[Plan, ...] = ()) -> Plan:
    """The base runs called ``name`` with a seed each, and what is made of them.

    Args:
        scale: how large they are.
        name: of the network and task.
        stages: what is made of them.
        also: further plans of the same item.
    """
    preset, given = (_QUICK if scale.quick else _FULL)[name]
    if preset == "mnist" and scale.mnist:
        given = given | {"folder": scale.mnist}
    if "checkpoint_every" not in given:
        from mechgrok.configuration import presets

        steps = given.get("steps", presets.load(preset)["training"]["steps"])
        given = given | {"checkpoint_every": _BEYOND * steps}
    named = f"quick-{name}" if scale.quick else name
    fields = {"name": named, "preset": preset, "set": given, "seeds": list(scale.seeds)}
    return Plan.read(fields | {"stage": list(stages), "also": [each.fields() for each in also]})


def together(*plans: Plan) -> Plan:
    """Several plans as one."""
    first, *rest = plans
    return Plan.read(first.fields() | {"also": [each.fields() for each in rest]})


def stage(scale: Scale, name: str, steps: int, make: str = "ticket", **options: Any) -> Stage:
    """Runs made of each base run, which keep their first and last checkpoint.

    Args:
        scale: how large they are.
        name: what they are chosen by.
        steps: the paper's steps that they are trained for at most.
        make: "ticket" or "popup".
        options: of it, each a value or several.
    """
    n = scale.steps(steps)
    if "until_grokked" in options:
        options["until_grokked"] = scale.steps(options["until_grokked"])
    kept = {"checkpoint_every": _BEYOND * n}
    return {"make": make, "name": name, "steps": n, **kept, **options}


def ticket(scale: Scale) -> Stage:
    """The grokked ticket at k = 0.6, with checkpoints, trained as long as its parent."""
    every = scale.steps(500)
    return {"make": "ticket", "name": "ticket", "rate": 0.6, "checkpoint_every": every}


def brief_ticket(scale: Scale, steps: int) -> Stage:
    """A ticket at k = 0.6 of which only its accuracies are looked at."""
    return stage(scale, "ticket", steps, rate=0.6, until_grokked=600)


def over_training(scale: Scale) -> Stage:
    """Tickets at k = 0.6 taken every 2,000 steps."""
    at = scale.some("2000:30000:2000", "200:1200:200")
    return stage(scale, "over-training", 6000, at=at, rate=0.6, until_grokked=600)


#: The prune rates of version 3's figure 3, and those around the critical one.
RATES, FINE_RATES = "0.1:0.9:0.1", "0.81:0.89:0.01"


def rates(scale: Scale) -> Stage:
    """Tickets at all prune rates."""
    of = scale.some(f"{RATES},{FINE_RATES}", "0.1,0.3,0.5,0.6,0.7,0.8,0.9")
    return stage(scale, "rates", 10_000, rate=of, until_grokked=600)


def rates_without_decay(scale: Scale) -> Stage:
    """The same without weight decay."""
    of = scale.some(f"{RATES},{FINE_RATES}", "0.3,0.6,0.7,0.8,0.81,0.9")
    return stage(scale, "no-decay", 5000, rate=of, weight_decay=0)


def controlled(scale: Scale, steps: int = 30_000) -> Stage:
    """Dense networks of the ticket's L1 and L2 norm."""
    return stage(scale, "controlled", steps, rate=0.6, control="l1,l2")


def at_initialization(scale: Scale) -> tuple[Stage, Stage]:
    """Pruned at initialization by four methods, at a horizon of 60,000 steps."""
    common: dict[str, Any] = {"rate": 0.6, "until_grokked": 1200}
    return (
        stage(scale, "initialization", 60_000, method="random,snip,grasp", **common),
        stage(scale, "initialization", 60_000, method="synflow", rounds=1, **common),
    )
