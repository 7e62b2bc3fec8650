"""Killing the dead neurons gains nothing, and reviving them costs little."""

from typing import Any

import plotly.graph_objects as go

from mechgrok.analyses.papers import runs
from mechgrok.analyses.papers.claims import A_SHARE, EARLIER, Claim, below, within
from mechgrok.analyses.papers.figures import accuracy_figure
from mechgrok.analyses.papers.quantities import chosen, of_run, over, t_gen
from mechgrok.analyses.papers.scale import Scale
from mechgrok.runs import Run
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "The paper finds 18.75 % of the edges dead. A neuron is dead of which the mask of k = 0.6 "
    "keeps no input edge; a seed whose mask has none has no run of either kind."
)


def plan(scale: Scale) -> Plan:
    """Base runs, tickets, dense runs without the dead neurons, and tickets with them revived."""
    return runs.runs(
        scale,
        "add",
        runs.ticket(scale),
        runs.stage(scale, "only-dead", 30_000, rate=0.6, prune_only="dead", until_grokked=1200),
        runs.stage(scale, "revived", 30_000, rate=0.6, revive="dead", until_grokked=1200),
    )


def draw(sweep: Sweep) -> dict[str, go.Figure]:
    """Accuracy of the four kinds of runs over training."""
    groups = {
        "base run": chosen(sweep, stage="base"),
        "only dead neurons pruned": chosen(sweep, stage="only-dead"),
        "grokked ticket": chosen(sweep, stage="ticket"),
        "ticket, dead neurons revived": chosen(sweep, stage="revived"),
    }
    return {"accuracy": accuracy_figure(groups, "Dead neurons pruned, and revived")}


def _dead_share(run: Run) -> float:
    """Share of the hidden neurons of which the ticket's mask keeps no input edge."""
    assert run.mask is not None
    dead: Any = ~run.mask["W_in"].any(0)
    return float(dead.float().mean())


CLAIMS = (
    Claim(
        "dead-share",
        "18.75 % of the edges hang on dead neurons.",
        "v2, figure 13",
        "share of the neurons that the ticket's mask leaves without an input edge",
        within(0.15, 0.25),
        of_run(_dead_share, stage="ticket"),
        "0.1875",
        A_SHARE,
    ),
    Claim(
        "killing-gains-nothing",
        "Pruning the dead neurons alone does not make the network generalize earlier.",
        "v2, figure 13",
        "t_gen of the base run over that without its dead neurons (1.25 would be a gain)",
        below(1.25, "log"),
        over(t_gen(stage="base"), t_gen(stage="only-dead")),
    ),
    Claim(
        "reviving-costs-nothing",
        "The ticket with its dead neurons revived is still far ahead of the base run.",
        "v2, figure 13",
        "t_gen of the base run over that of the ticket with revived neurons",
        EARLIER,
        over(t_gen(stage="base"), t_gen(stage="revived")),
    ),
)
