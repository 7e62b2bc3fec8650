"""A transformer's ticket is ahead of the base run and of dense networks with its norm."""

from mechgrok.analyses import papers
from mechgrok.analyses.papers.minegishi2023 import shared
from mechgrok.sweeps import Plan, Sweep

ALSO = ("v3-fig13", "v3-fig16", "v2-fig9-transformer")
SETTINGS = (
    "The text has d_emb = 500, learned positions and biases in the MLP; the authors' code has "
    "d_emb = 128, no positions and no biases. Both are here, and the text's with the code's width. "
    "At most 40,000 steps, with weight decay 1."
)
#: Transformers other than the text's, by the names of their base runs.
OTHERS = {
    "narrow-transformer": "a transformer with d_emb = 128",
    "authors-transformer": "the transformer of the authors' code",
}


def plan(scale: papers.Scale) -> Plan:
    """Transformers, their tickets, dense runs with the tickets' norms; narrow ones and tickets."""
    own = scale.stage("ticket", "ticket", 40_000, rate=0.6, until_grokked=2000)
    brief = shared.brief_ticket(scale, 40_000)
    return papers.join(
        [
            scale.plan("transformer", own, shared.controlled(scale, 40_000, 2000)),
            *(scale.plan(network, brief) for network in OTHERS),
        ]
    )


def draw(sweep: Sweep) -> papers.Figures:
    """Accuracy, L1 and L2 norm of the four kinds of runs over training; accuracy of the others."""
    wide = shared.of_network("transformer", shared.PAIR | shared.CONTROLLED)
    title = "A transformer's ticket and dense transformers with its norm"
    norms = papers.training_figure(sweep, wide, title, papers.WITH_NORMS)
    return {"norms": norms, **shared.pair_figures(sweep, OTHERS)}


CLAIMS = {
    "ticket-earlier": papers.Claim(
        "A transformer's grokked ticket generalizes earlier than the transformer.",
        "v3, figures 2 and 12; v2, figure 9",
        "t_gen of the base run over that of its ticket",
        papers.EARLIER,
        shared.t_gen_ratio("base", "ticket", network="transformer"),
    ),
    **shared.tickets_earlier(OTHERS, "the authors' code"),
    **{
        f"ahead-of-{norm}": shared.controlled_later(
            norm, "transformer", "it", "v3, figures 12 and 13", network="transformer"
        )
        for norm in ("l1", "l2")
    },
}
