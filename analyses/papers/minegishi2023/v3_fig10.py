"""Tickets generalize earlier on other modular operations too; random labels stay at chance."""

from mechgrok.analyses import papers
from mechgrok.analyses.papers.minegishi2023 import shared
from mechgrok.sweeps import Plan, Sweep

ALSO = ("v2-fig10",)
SETTINGS = (
    "Half of the pairs of a − b (0 < b < a) and a² + b² are for training here, 40 % in the text, "
    "with which some seeds do not reach 95 % within 30,000 steps."
)
OPERATIONS = {"sub": "a − b", "mul": "a · b", "x2y2": "a² + b²"}
NAMES = OPERATIONS | {"random": "random labels"}


def plan(scale: papers.Scale) -> Plan:
    """Base runs of each operation, and their tickets."""
    return papers.join(scale.plan(network, shared.brief_ticket(scale, 12_000)) for network in NAMES)


def draw(sweep: Sweep) -> papers.Figures:
    """Accuracy of base runs and tickets for each operation."""
    return shared.pair_figures(sweep, NAMES)


CLAIMS = {
    **shared.tickets_earlier(OPERATIONS, "v3, figure 10; v2, figure 10"),
    "random-at-chance": papers.Claim(
        "With random labels there is nothing to generalize: test accuracy stays at chance.",
        "v3, figure 10",
        "best test accuracy of the base run (chance is 1/67 = 0.015)",
        papers.below(0.05),
        papers.best_accuracy(network="random", stage="base"),
    ),
}
