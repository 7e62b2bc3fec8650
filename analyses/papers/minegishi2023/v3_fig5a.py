"""The ticket is far ahead of dense networks with its norm; L2 norms converge, L1 norms do not."""

from mechgrok.analyses import papers
from mechgrok.analyses.papers.minegishi2023 import shared
from mechgrok.sweeps import Plan, Sweep

ALSO = ("v2-fig2", "v2-fig11", "v3-fig6")
SETTINGS = (
    "As in the authors' code, θ₀ is scaled to the ticket's initial norm (theirs: r₁ = 0.4153, r₂ = "
    "0.6493). They sum per-layer norms (mechgrok analyze norms --whole mean); here a norm is over "
    "all weights."
)


def plan(scale: papers.Scale) -> Plan:
    """Base runs, their tickets, and dense networks of the tickets' norms."""
    return scale.plan("add", shared.ticket(scale), shared.controlled(scale))


def draw(sweep: Sweep) -> papers.Figures:
    """Accuracy, L1 and L2 norm of the four kinds of runs over training."""
    title = "The ticket and dense networks of equal norm"
    return {
        "norms": papers.training_figure(
            sweep, shared.PAIR | shared.CONTROLLED, title, papers.WITH_NORMS
        )
    }


def _no_faster(norm: str, printed: str) -> papers.Claim:
    return papers.Claim(
        f"Equal norm does not make a dense network generalize faster ({norm.upper()}).",
        "v3, introduction",
        f"t_gen of the base run over that of the controlled dense run ({norm.upper()})",
        papers.below(1.25, "log"),
        papers.t_gen(stage="base") / papers.t_gen(stage="controlled", control=norm),
        f"v2, table 1, at 90 %: 21,497 / {printed}",
    )


def _final_norm(norm: str) -> papers.Quantity:
    """The norm of the ticket over that of the base run, at the last step."""
    return papers.metric_at(-1, norm, stage="ticket") / papers.metric_at(-1, norm, stage="base")


_LATER = ("network", "the ticket", "v3, figures 5a and 6; v2, figure 2")
CLAIMS = {
    "ahead-of-l1": shared.controlled_later(
        "l1", *_LATER, "v2, table 1, at 90 %: 15,364 / 566 = 27"
    ),
    "ahead-of-l2": shared.controlled_later("l2", *_LATER, "v2, table 1, at 90 %: 9,659 / 566 = 17"),
    "l1-no-faster": _no_faster("l1", "15,364 = 1.4"),
    "l2-no-faster": _no_faster("l2", "9,659 = 2.2"),
    "l2-meets": papers.Claim(
        "The L2 norms of the ticket and of the base run end close to one another.",
        "v3, figure 6; v2, figure 11",
        "L2 norm of the ticket over that of the base run, at the last step",
        papers.within(0.85, 1.15, "log"),
        _final_norm("l2"),
    ),
    "l1-apart": papers.Claim(
        "The L1 norms do not: that of the ticket stays smaller.",
        "v3, figure 6; v2, figure 11",
        "L1 norm of the ticket over that of the base run, at the last step",
        papers.below(0.85, "log"),
        _final_norm("l1"),
    ),
}
