"""The same of a transformer: the ticket ahead of the base run and of dense networks of its norm."""

import plotly.graph_objects as go

from analyses.paper import runs
from analyses.paper.claims import EARLIER, Claim
from analyses.paper.figures import norms_figure
from analyses.paper.quantities import chosen, over, t_gen
from analyses.paper.scale import Scale
from mechgrok.sweeps import Plan, Sweep

ALSO = ("v3-fig13", "v3-fig16", "v2-fig9-transformer")
SETTINGS = (
    "The text has d_emb = 500, learned positions and biases in the MLP, as here; the authors' code "
    "has d_emb = 128, no positions and no biases. 10,000 steps."
)


def plan(scale: Scale) -> Plan:
    """Transformers, their tickets, and dense ones of the tickets' norms."""
    own = runs.stage(scale, "ticket", 10_000, rate=0.6)
    return runs.runs(scale, "transformer", own, runs.controlled(scale, 10_000))


def draw(sweep: Sweep) -> dict[str, go.Figure]:
    """Accuracy, L1 and L2 norm of the four kinds of runs over training."""
    groups = {
        "base run": chosen(sweep, stage="base"),
        "grokked ticket": chosen(sweep, stage="ticket"),
        "dense, L1 norm of the ticket": chosen(sweep, stage="controlled", control="l1"),
        "dense, L2 norm of the ticket": chosen(sweep, stage="controlled", control="l2"),
    }
    return {"norms": norms_figure(groups, "A transformer's ticket beside dense ones of its norm")}


CLAIMS = (
    Claim(
        "ticket-earlier",
        "A transformer's grokked ticket generalizes earlier than the transformer.",
        "v3, figures 2 and 12; v2, figure 9",
        "t_gen of the base run over that of its ticket",
        EARLIER,
        over(t_gen(stage="base"), t_gen(stage="ticket")),
    ),
    *(
        Claim(
            f"ahead-of-{norm}",
            f"A dense transformer with the ticket's L{norm[1]} norm generalizes later than it.",
            "v3, figures 12 and 13",
            f"t_gen of the controlled dense run (L{norm[1]}) over that of the ticket",
            EARLIER,
            over(t_gen(stage="controlled", control=norm), t_gen(stage="ticket")),
        )
        for norm in ("l1", "l2")
    ),
)
