"""Which representations does a network compose with? Characters in logits, shares, cosets.

A network that has learned c = a·b in a group answers with Σ_ρ α_ρ tr ρ(a b c⁻¹) over a few of its
irreducible representations ρ, the key ones (Chughtai et al. 2023, arXiv 2302.03025): embeddings
hold entries of ρ(a) and ρ(b), neurons multiply them to those of ρ(a b). Seen otherwise, each neuron
reads on which coset of a subgroup an operand lies (Stander et al. 2023, arXiv 2312.06581). On a + b
mod p the representations are the frequencies.
"""

from mechgrok.analyses.representations.figure import draw
from mechgrok.analyses.representations.measurement import VARIABLES, applies, finding, measure

__all__ = ["VARIABLES", "applies", "draw", "finding", "measure"]
