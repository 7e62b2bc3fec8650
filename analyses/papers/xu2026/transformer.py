"""The commutator defect in a transformer with layer normalization, as in the paper."""

from mechgrok.analyses import papers
from mechgrok.analyses.papers.xu2026 import shared
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "As in the paper: a transformer with layer normalization before each part and at the end, GELU "
    "and AdamW with weight decay 1. Much smaller: a + b modulo 29 in place of 97, one layer and "
    "one head in place of two and four, d_model 32; 70 % of the pairs for training, the whole "
    "training set at each step, and learning rate 0.003, at which the paper's own leads are "
    "shortest (24 %). The paper takes 16 to 24 directions of the attention matrices' paths; here "
    "the plane is that of the path of all weights."
)


def plan(scale: papers.Scale) -> Plan:
    """Runs with weight decay and without."""
    return shared.plan(scale, "transformer")


def draw(sweep: Sweep) -> papers.Figures:
    """Accuracy and the commutator over training."""
    return shared.draw(sweep, "transformer")


CLAIMS = shared.claims("transformer")
