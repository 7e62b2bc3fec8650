"""On a sphere of the right weight norm there is no delay; on a larger one it is long."""

from typing import Any

from mechgrok.analyses import papers
from mechgrok.analyses.papers.liu2022 import SCALES
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "Modular addition with an MLP, modulo 43. The constraint norm holds the norm of all weights "
    "after every step at a multiple of the initial one, without weight decay; the free runs have "
    "weight decay 1. The right norm is, for each seed, the best of four, which were chosen "
    "after trying one seed. In a further kind of run "
    "a phase begins at step 500, after memorization, and holds the norm at 0.6 times its value."
)
#: The norms of the spheres, as multiples of the initial norm.
_NORMS = (0.8, 1.1, 1.4, 2.0)
_FREE: dict[str, Any] = {"network": "scales", "init_scale": 1}


def plan(scale: papers.Scale) -> Plan:
    """Free runs, and runs on spheres from the start or after memorization."""
    norms = ",".join(f"norm:times={times:g}" for times in _NORMS)
    late = "500:constraints=norm:times=0.6"
    return papers.join(
        [
            scale.plan("scales", over={"init_scale": SCALES}),
            scale.plan("spheres", over={"constraint": norms}),
            scale.plan("late-sphere", over={"phase": late}),
        ]
    )


def draw(sweep: Sweep) -> papers.Figures:
    """Test accuracy and weight norm over training, free and on each sphere."""
    spheres = {
        f"norm held at {times:g} × the initial": {"network": "spheres", "constraint": _held(times)}
        for times in _NORMS
    }
    groups = {"free": _FREE, **spheres, "held late": {"network": "late-sphere"}}
    title = "Training on spheres of constant weight norm"
    return {"accuracy": papers.training_figure(sweep, groups, title, ("accuracy", "L2 √Σw²"))}


def _held(times: float) -> str:
    return f"norm:times={times:g}"


def _on_best(quantity: papers.Quantity) -> papers.Quantity:
    """The value of each seed on the sphere where it generalizes first."""

    def values(sweep: Sweep) -> papers.BySeed:
        first: dict[object, tuple[float, papers.Bounds]] = {}
        for times in _NORMS:
            if runs := papers.select(sweep, network="spheres", constraint=_held(times)):
                value = quantity(runs)
                for seed, t_gen in papers.t_gen()(runs).items():
                    if seed not in first or t_gen.high < first[seed][0]:
                        first[seed] = (t_gen.high, value[seed])
        return {seed: value for seed, (_, value) in first.items()}

    return papers.Quantity(values)


CLAIMS = {
    "sphere-earlier": papers.Claim(
        "On a sphere of the right norm the network generalizes earlier than in free training.",
        "section on algorithmic data",
        "t_gen of free training over the smallest t_gen on any of four spheres",
        papers.EARLIER,
        papers.t_gen(**_FREE) / _on_best(papers.t_gen()),
    ),
    "no-delay": papers.Claim(
        "On a sphere of the right norm there is almost no delay.",
        "section on algorithmic data",
        "τ = t_gen / t_mem on the sphere of four with the smallest t_gen",
        papers.below(2, "log"),
        _on_best(papers.tau()),
    ),
    "larger-sphere-later": papers.Claim(
        "On a larger sphere the network generalizes later.",
        "section on algorithmic data",
        "t_gen with the norm held at 2 times the initial one over t_gen at 1.4 times",
        papers.EARLIER,
        papers.t_gen(network="spheres", constraint=_held(2))
        / papers.t_gen(network="spheres", constraint=_held(1.4)),
    ),
    "late-sphere": papers.Claim(
        "A memorizing network generalizes sooner if its norm is lowered to the right sphere.",
        "a consequence of the mechanism, not a claim of the text",
        "t_gen of free training over t_gen with the norm at 0.6 times that of step 500",
        papers.EARLIER,
        papers.t_gen(**_FREE) / papers.t_gen(network="late-sphere"),
    ),
}
