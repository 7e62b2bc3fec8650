"""The same of a transformer: the ticket ahead of the base run and of dense networks of its norm."""

import plotly.graph_objects as go

from mechgrok.analyses.papers import runs
from mechgrok.analyses.papers.claims import EARLIER, Claim
from mechgrok.analyses.papers.figures import norms_figure
from mechgrok.analyses.papers.items.v3_fig10 import of_task, pair_figure, ticket_earlier
from mechgrok.analyses.papers.quantities import of_plan, over, t_gen
from mechgrok.analyses.papers.scale import Scale
from mechgrok.sweeps import Plan, Sweep

ALSO = ("v3-fig13", "v3-fig16", "v2-fig9-transformer")
SETTINGS = (
    "The text has d_emb = 500, learned positions and biases in the MLP, as here; the authors' code "
    "has d_emb = 128, no positions and no biases. Of these its width is tried beside the text's. "
    "10,000 steps."
)
CODE = "narrow-transformer"


def plan(scale: Scale) -> Plan:
    """Transformers, their tickets, and dense ones of the tickets' norms; narrow ones and theirs."""
    own = runs.stage(scale, "ticket", 10_000, rate=0.6)
    return runs.together(
        runs.runs(scale, "transformer", own, runs.controlled(scale, 10_000)),
        runs.runs(scale, CODE, runs.brief_ticket(scale, 10_000)),
    )


def draw(sweep: Sweep) -> dict[str, go.Figure]:
    """Accuracy, L1 and L2 norm of the four kinds of runs over training; the narrow ones."""
    groups = {
        "base run": of_plan(sweep, "transformer", stage="base"),
        "grokked ticket": of_plan(sweep, "transformer", stage="ticket"),
    }
    for norm in ("l1", "l2"):
        label = f"dense, L{norm[1]} norm of the ticket"
        groups[label] = of_plan(sweep, "transformer", stage="controlled", control=norm)
    return {
        "norms": norms_figure(groups, "A transformer's ticket beside dense ones of its norm"),
        "narrow": pair_figure(sweep, CODE, "a transformer of the authors' code's width"),
    }


CLAIMS = (
    Claim(
        "ticket-earlier",
        "A transformer's grokked ticket generalizes earlier than the transformer.",
        "v3, figures 2 and 12; v2, figure 9",
        "t_gen of the base run over that of its ticket",
        EARLIER,
        of_task("transformer", over(t_gen(stage="base"), t_gen(stage="ticket"))),
    ),
    ticket_earlier(CODE, "a transformer with d_emb = 128", "the authors' code"),
    *(
        Claim(
            f"ahead-of-{norm}",
            f"A dense transformer with the ticket's L{norm[1]} norm generalizes later than it.",
            "v3, figures 12 and 13",
            f"t_gen of the controlled dense run (L{norm[1]}) over that of the ticket",
            EARLIER,
            of_task(
                "transformer",
                over(t_gen(stage="controlled", control=norm), t_gen(stage="ticket")),
            ),
        )
        for norm in ("l1", "l2")
    ),
)
