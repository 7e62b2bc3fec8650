"""How much of the ticket's lead goes with its norm, how much with its logit scale, what stays."""

from mechgrok.analyses import papers
from mechgrok.analyses.papers.norm_or_structure import shared
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "a + b mod 67, the default network. Norm and logit scale of the other run are followed step by "
    "step, interpolated between its evaluations; from its last step on they stay. Position 0 is "
    "the free ticket's t_gen, 1 that of the free dense network, on a logarithmic scale. Held runs "
    "train for at most 30,000 steps, free ones for 60,000."
)
VERSION = 2


def plan(scale: papers.Scale) -> Plan:
    """Free dense networks, their tickets, and both held at the other's norm and logit scale."""
    held = shared.tickets_held(scale), shared.dense_held(scale)
    return scale.plan("add", shared.ticket(scale), *held)


def draw(sweep: Sweep) -> papers.Figures:
    """The decomposition of the lead, and the arms over training."""
    return shared.ticket_figures(sweep, "add", "a + b")


CLAIMS = shared.ticket_claims("add")
