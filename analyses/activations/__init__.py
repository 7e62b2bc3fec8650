"""What do neurons and heads compute? Activations and attention over all (a, b); answers pushed.

A neuron of a network that has generalized fires in a pattern of one frequency: its activation over
the p × p grid is made of waves of w_k a, w_k b and their products (Nanda et al. 2023, arXiv
2301.05217, who assign a neuron to a frequency by the share of variance that these explain), and
the answers it pushes are a wave of the same frequency. Where a group's elements are composed,
entries of ρ(a), of ρ(b) and their products stand in place of waves, for an irreducible
representation ρ. In a transformer the heads' attention over the grid is measured in the same way.
"""

from mechgrok.analyses.activations.figure import draw
from mechgrok.analyses.activations.measurement import VARIABLES, applies, finding, measure

__all__ = ["VARIABLES", "applies", "draw", "finding", "measure"]
