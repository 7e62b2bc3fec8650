"""The commutator defect in a transformer with layer normalization, as in the paper."""

from mechgrok.analyses import papers
from mechgrok.analyses.papers.xu2026 import shared
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "As in the paper: two layers with normalization before each part and at the end, four heads, "
    "GELU, half of the pairs for training, AdamW with learning rate 0.001. Smaller than the "
    "paper's: a + b modulo 43 in place of 97, d_model 64, 128 neurons, and the whole training set "
    "at each step in place of batches of 512. The paper takes 16 to 24 directions of the attention "
    "matrices' paths; here the plane is that of the path of all weights."
)


def plan(scale: papers.Scale) -> Plan:
    """Runs with weight decay and without."""
    return shared.plan(scale, "transformer")


def draw(sweep: Sweep) -> papers.Figures:
    """Accuracy and the commutator over training."""
    return shared.draw(sweep, "transformer")


CLAIMS = shared.claims("transformer")
