"""A transformer's ticket is ahead of the base run and of dense networks with its norm."""

from mechgrok.analyses import papers
from mechgrok.analyses.papers.minegishi2023 import shared
from mechgrok.sweeps import Plan, Sweep

ALSO = ("v3-fig13", "v3-fig16", "v2-fig9-transformer")
SETTINGS = (
    "The text has d_emb = 500, learned positions and biases in the MLP, as here; the authors' code "
    "has d_emb = 128, no positions and no biases. The runs here include the code's width too. "
    "10,000 steps."
)
NARROW = "narrow-transformer"


def plan(scale: papers.Scale) -> Plan:
    """Transformers, their tickets, dense runs with the tickets' norms; narrow ones and tickets."""
    own = scale.stage("ticket", "ticket", 10_000, rate=0.6)
    return papers.join(
        [
            scale.plan("transformer", own, shared.controlled(scale, 10_000)),
            scale.plan(NARROW, shared.brief_ticket(scale, 10_000)),
        ]
    )


def draw(sweep: Sweep) -> papers.Figures:
    """Accuracy, L1 and L2 norm of the four kinds of runs over training; accuracy of narrow ones."""
    wide = shared.of_network("transformer", shared.PAIR | shared.CONTROLLED)
    title = "A transformer's ticket and dense transformers with its norm"
    narrow_title = "Base runs and their tickets: a transformer with the width of the authors' code"
    return {
        "norms": papers.training_figure(sweep, wide, title, papers.WITH_NORMS),
        "narrow": papers.training_figure(sweep, shared.of_network(NARROW), narrow_title),
    }


CLAIMS = {
    "ticket-earlier": papers.Claim(
        "A transformer's grokked ticket generalizes earlier than the transformer.",
        "v3, figures 2 and 12; v2, figure 9",
        "t_gen of the base run over that of its ticket",
        papers.EARLIER,
        shared.t_gen_ratio("base", "ticket", network="transformer"),
    ),
    **shared.tickets_earlier({NARROW: "a transformer with d_emb = 128"}, "the authors' code"),
    **{
        f"ahead-of-{norm}": shared.controlled_later(
            norm, "transformer", "it", "v3, figures 12 and 13", network="transformer"
        )
        for norm in ("l1", "l2")
    },
}
