"""The commutator defect in an MLP without normalization."""

from mechgrok.analyses import papers
from mechgrok.analyses.papers.xu2026 import shared
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "The default kind of network here: an MLP that adds modulo 43, with half of the pairs for "
    "training. The paper's controls without generalization are other operations, or, as here, "
    "runs without weight decay. The plane is that of the path of all weights."
)


def plan(scale: papers.Scale) -> Plan:
    """Runs with weight decay and without."""
    return shared.plan(scale, "mlp")


def draw(sweep: Sweep) -> papers.Figures:
    """Accuracy and the commutator over training."""
    return shared.draw(sweep, "mlp")


CLAIMS = shared.claims("mlp")
