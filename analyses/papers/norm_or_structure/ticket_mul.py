"""The same on another task: products, with the norm held at four values, and at the ticket's."""

from mechgrok.analyses import papers
from mechgrok.analyses.papers.norm_or_structure import shared
from mechgrok.sweeps import Plan, Sweep

SETTINGS = "a · b mod 67, the default network, six seeds; otherwise as in the items on a + b."
VERSION = 2


def plan(scale: papers.Scale) -> Plan:
    """Free runs, tickets and both held at the other's; dense networks at four held norms."""
    held = shared.tickets_held(scale), shared.dense_held(scale)
    norms = shared.held_norms(scale, shared.GRID_NORMS, (38, 50))
    return papers.join(
        [
            scale.plan("mul", shared.ticket(scale), *held),
            scale.plan("norms-mul", over={"constraint": norms}),
        ]
    )


def draw(sweep: Sweep) -> papers.Figures:
    """The decomposition of the lead, and the arms over training."""
    return shared.ticket_figures(sweep, "mul", "a · b")


def _t_gen(norm: int) -> papers.Quantity:
    return papers.t_gen(**shared.cell(norm, network="norms-mul"))


CLAIMS = {
    "larger-norm-later": papers.Claim(
        "Held at a larger norm, a dense network generalizes later.",
        "after arXiv 2606.13753",
        "t_gen with the norm held at 50 over t_gen at 38",
        papers.EARLIER,
        _t_gen(50) / _t_gen(38),
    ),
    **shared.ticket_claims("mul"),
}
