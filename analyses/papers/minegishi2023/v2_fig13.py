"""Killing the dead neurons gains nothing, and reviving them costs little."""

from typing import Any

from mechgrok.analyses import papers
from mechgrok.analyses.papers.minegishi2023 import shared
from mechgrok.runs import Run
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "The paper finds 18.75 % of the edges dead. A neuron is dead if the mask at k = 0.6 "
    "prunes all of its input edges; seeds without dead neurons have no run of either kind."
)


def plan(scale: papers.Scale) -> Plan:
    """Base runs, tickets, dense runs without the dead neurons, and tickets with them revived."""
    return scale.plan(
        "add",
        shared.ticket(scale),
        scale.stage("ticket", "only-dead", 60_000, rate=0.6, prune_only="dead", until_grokked=1200),
        scale.stage("ticket", "revived", 60_000, rate=0.6, revive="dead", until_grokked=1200),
    )


def draw(sweep: Sweep) -> papers.Figures:
    """Accuracy of the four kinds of runs over training."""
    groups = {
        "base run": {"stage": "base"},
        "only dead neurons pruned": {"stage": "only-dead"},
        "grokked ticket": {"stage": "ticket"},
        "ticket, dead neurons revived": {"stage": "revived"},
    }
    return {"accuracy": papers.training_figure(sweep, groups, "Dead neurons pruned, and revived")}


def _dead_share(run: Run) -> float:
    """The share of hidden neurons without input edges in the ticket's mask."""
    assert run.mask is not None
    dead: Any = ~run.mask["W_in"].any(0)
    return float(dead.float().mean())


CLAIMS = {
    "dead-share": papers.Claim(
        "18.75 % of the edges belong to dead neurons.",
        "v2, figure 13",
        "share of the neurons without input edges in the ticket's mask",
        papers.within(0.15, 0.25),
        papers.of_run(_dead_share, papers.A_SHARE, stage="ticket"),
        "0.1875",
    ),
    "killing-gains-nothing": papers.Claim(
        "Pruning the dead neurons alone does not make the network generalize earlier.",
        "v2, figure 13",
        "t_gen of the base run over that without its dead neurons (1.25 would be a gain)",
        papers.below(1.25, "log"),
        papers.t_gen(stage="base") / papers.t_gen(stage="only-dead"),
    ),
    "reviving-costs-nothing": papers.Claim(
        "The ticket with its dead neurons revived is still far ahead of the base run.",
        "v2, figure 13",
        "t_gen of the base run over that of the ticket with revived neurons",
        papers.EARLIER,
        papers.t_gen(stage="base") / papers.t_gen(stage="revived"),
    ),
}
