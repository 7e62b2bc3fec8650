"""Which representations does a network use? Characters in logits, shares, cosets.

A network that has learned c = a·b in a group computes the logits Σ_ρ α_ρ tr ρ(a b c⁻¹) over a few
key irreducible representations ρ (Chughtai et al. 2023, arXiv 2302.03025): embeddings contain
entries of ρ(a) and ρ(b), and neurons multiply these to entries of ρ(a b). In another description,
each neuron reads the coset of a subgroup that contains an operand (Stander et al. 2023, arXiv
2312.06581). For a + b mod p the representations are the frequencies.
"""

from mechgrok.analyses.representations.figure import draw
from mechgrok.analyses.representations.measurement import (
    USES_LATER_STEPS,
    USES_TEST_LABELS,
    VARIABLES,
    applies,
    finding,
    measure,
)

__all__ = [
    "USES_LATER_STEPS",
    "USES_TEST_LABELS",
    "VARIABLES",
    "applies",
    "draw",
    "finding",
    "measure",
]
