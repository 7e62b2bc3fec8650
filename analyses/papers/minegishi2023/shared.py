"""Stages of runs, groups of runs, and claims shared by several items of the paper."""

from collections.abc import Mapping
from typing import Any

from mechgrok.analyses import papers
from mechgrok.sweeps import Sweep

#: Methods of pruning at initialization, and their names in figures.
METHODS = {"random": "random", "snip": "SNIP", "grasp": "GraSP", "synflow": "SynFlow"}
#: The prune rates of version 3's figure 3, and those around the critical one.
RATES = "0.1:0.9:0.1,0.81:0.89:0.01"

# Groups of runs, by their names in figures.
BASE: dict[str, dict[str, Any]] = {"base run": {"stage": "base"}}
PAIR = BASE | {"grokked ticket": {"stage": "ticket"}}
CONTROLLED: dict[str, dict[str, Any]] = {
    f"dense, {norm.upper()} norm of the ticket": {"stage": "controlled", "control": norm}
    for norm in ("l1", "l2")
}
AT_INITIALIZATION: dict[str, dict[str, Any]] = {
    name: {"stage": "initialization", "method": method} for method, name in METHODS.items()
}


def of_network(
    network: str, groups: dict[str, dict[str, Any]] | None = None
) -> dict[str, dict[str, Any]]:
    """Groups of runs of one network and task; default: base runs and tickets."""
    return {name: {"network": network, **group} for name, group in (groups or PAIR).items()}


def ticket(scale: papers.Scale) -> papers.Stage:
    """The grokked ticket at k = 0.6, with checkpoints, until 30,000 steps after t_gen."""
    stage = scale.stage("ticket", "ticket", 60_000, rate=0.6, until_grokked=30_000)
    return stage | {"checkpoint_every": scale.steps(500)}


def brief_ticket(scale: papers.Scale, steps: int) -> papers.Stage:
    """A ticket at k = 0.6, for accuracies alone."""
    return scale.stage("ticket", "ticket", steps, rate=0.6, until_grokked=600)


def controlled(
    scale: papers.Scale, steps: int = 60_000, until_grokked: int = 12_000
) -> papers.Stage:
    """Dense networks with the ticket's L1 and L2 norm."""
    return scale.stage(
        "ticket", "controlled", steps, rate=0.6, control="l1,l2", until_grokked=until_grokked
    )


def at_initialization(scale: papers.Scale) -> tuple[papers.Stage, papers.Stage]:
    """Networks pruned at initialization by four methods, up to step 60,000."""
    common: dict[str, Any] = {"rate": 0.6, "until_grokked": 1200}
    return (
        scale.stage("ticket", "initialization", 60_000, method="random,snip,grasp", **common),
        scale.stage("ticket", "initialization", 60_000, method="synflow", rounds=1, **common),
    )


def tickets_at_rates(scale: papers.Scale) -> papers.Stage:
    """Tickets at all prune rates."""
    rates = scale.choose(RATES, "0.1,0.3,0.5,0.6,0.7,0.8,0.9")
    return scale.stage("ticket", "rates", 10_000, rate=rates, until_grokked=600)


def pair_figures(sweep: Sweep, networks: Mapping[str, str]) -> papers.Figures:
    """Accuracy of base runs and tickets over training, for each network and task by name."""
    return {
        network: papers.training_figure(
            sweep, of_network(network), f"Base runs and their tickets: {name}"
        )
        for network, name in networks.items()
    }


def tickets_earlier(networks: Mapping[str, str], source: str) -> dict[str, papers.Claim]:
    """Claims that the ticket generalizes earlier than the base run, for each network by name."""
    return {
        f"ticket-earlier-{network}": papers.Claim(
            f"The grokked ticket generalizes earlier: {name}.",
            source,
            "t_gen of the base run over that of its ticket",
            papers.EARLIER,
            t_gen_ratio("base", "ticket", network=network),
        )
        for network, name in networks.items()
    }


def t_gen_ratio(first: str, second: str, **settings: Any) -> papers.Quantity:
    """The ratio of t_gen in one stage to t_gen in another."""
    return papers.t_gen(stage=first, **settings) / papers.t_gen(stage=second, **settings)


def controlled_later(
    norm: str, what: str, than: str, source: str, printed: str = "", **settings: Any
) -> papers.Claim:
    """The claim that a dense network with the ticket's norm generalizes later than the ticket."""
    return papers.Claim(
        f"A dense {what} with the ticket's {norm.upper()} norm generalizes later than {than}.",
        source,
        f"t_gen of the controlled dense run ({norm.upper()}) over that of the ticket",
        papers.EARLIER,
        papers.t_gen(stage="controlled", control=norm, **settings)
        / papers.t_gen(stage="ticket", **settings),
        printed,
    )
