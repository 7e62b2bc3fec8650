"""What do neurons and heads compute? Activations and attention over all (a, b), effect on logits.

In a network that has generalized, each neuron responds to one frequency: its activation over the
p × p grid is a sum of waves of w_k a, w_k b and their products, and its effect on the logits is a
wave of the same frequency. Nanda et al. 2023 (arXiv 2301.05217) assign a neuron to the frequency
that explains most of its variance. On a group, entries of ρ(a), of ρ(b) and their products replace
the waves, for an irreducible representation ρ. In a transformer the attention of each head over the
grid is measured in the same way.
"""

from mechgrok.analyses.activations.figure import draw
from mechgrok.analyses.activations.measurement import SCALARS, VARIABLES, applies, finding, measure

__all__ = ["SCALARS", "VARIABLES", "applies", "draw", "finding", "measure"]
