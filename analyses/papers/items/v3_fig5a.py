"""The ticket is far ahead of dense networks of its norm; L2 norms meet, L1 norms do not."""

import plotly.graph_objects as go

from mechgrok.analyses.papers import runs
from mechgrok.analyses.papers.claims import EARLIER, Claim, below, within
from mechgrok.analyses.papers.figures import norms_figure
from mechgrok.analyses.papers.quantities import chosen, metric_at, over, t_gen
from mechgrok.analyses.papers.scale import Scale
from mechgrok.sweeps import Plan, Sweep

ALSO = ("v2-fig2", "v2-fig11", "v3-fig6")
SETTINGS = (
    "As in the authors' code, θ₀ is scaled to the norm that the ticket begins with (theirs: r₁ = "
    "0.4153, r₂ = 0.6493). They add up per-layer norms (mechgrok analyze norms --whole mean); here "
    "a norm is that of all weights."
)


def plan(scale: Scale) -> Plan:
    """Base runs, their tickets, and dense networks of the tickets' norms."""
    return runs.runs(scale, "add", runs.ticket(scale), runs.controlled(scale))


def draw(sweep: Sweep) -> dict[str, go.Figure]:
    """Accuracy, L1 and L2 norm of the four kinds of runs over training."""
    groups = {
        "base run": chosen(sweep, stage="base"),
        "grokked ticket": chosen(sweep, stage="ticket"),
        "dense, L1 norm of the ticket": chosen(sweep, stage="controlled", control="l1"),
        "dense, L2 norm of the ticket": chosen(sweep, stage="controlled", control="l2"),
    }
    return {"norms": norms_figure(groups, "The ticket beside dense networks of equal norm")}


CLAIMS = (
    *(
        Claim(
            f"ahead-of-{norm}",
            f"A dense network with the ticket's L{norm[1]} norm generalizes later than the ticket.",
            "v3, figures 5a and 6; v2, figure 2",
            f"t_gen of the controlled dense run (L{norm[1]}) over that of the ticket",
            EARLIER,
            over(t_gen(stage="controlled", control=norm), t_gen(stage="ticket")),
            f"v2, table 1, at 90 %: {printed}",
        )
        for norm, printed in (("l1", "15,364 / 566 = 27"), ("l2", "9,659 / 566 = 17"))
    ),
    *(
        Claim(
            f"{norm}-no-faster",
            f"Equal norm does not make a dense network generalize faster (L{norm[1]}).",
            "v3, introduction",
            f"t_gen of the base run over that of the controlled dense run (L{norm[1]})",
            below(1.25, "log"),
            over(t_gen(stage="base"), t_gen(stage="controlled", control=norm)),
            f"v2, table 1, at 90 %: 21,497 / {printed}",
        )
        for norm, printed in (("l1", "15,364 = 1.4"), ("l2", "9,659 = 2.2"))
    ),
    Claim(
        "l2-meets",
        "The L2 norms of the ticket and of the base run end close to one another.",
        "v3, figure 6; v2, figure 11",
        "L2 norm of the ticket over that of the base run, at the last step",
        within(0.85, 1.15, "log"),
        over(metric_at(-1, "l2", stage="ticket"), metric_at(-1, "l2", stage="base")),
    ),
    Claim(
        "l1-apart",
        "The L1 norms do not: that of the ticket stays smaller.",
        "v3, figure 6; v2, figure 11",
        "L1 norm of the ticket over that of the base run, at the last step",
        below(0.85, "log"),
        over(metric_at(-1, "l1", stage="ticket"), metric_at(-1, "l1", stage="base")),
    ),
)
