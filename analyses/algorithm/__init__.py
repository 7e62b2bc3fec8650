"""Clock or pizza? Symmetricity, irrelevance, waves by the operands' distance, phases of neurons.

A network adds by the product of two waves, or by the sum of two vectors. Both algorithms put
residues on circles. A *clock* multiplies cos(w a) and cos(w b) and turns by angles; a *pizza* adds
the two vectors and reads the direction of their sum, which is short where they lie opposite (Zhong,
Liu, Tegmark and Andreas 2023, arXiv 2306.17844). They are told apart by the gradient symmetricity,
the distance irrelevance, and here also by frequency: with the circle of one frequency alone in the
embedding, how the wave in the logits falls with the distance of the operands. Beside that, what
neurons align: a neuron that reads cos(w a − φ) + cos(w b − φ) helps where it writes cos(w c − 2φ).

By default 30 checkpoints are measured, evenly spaced by log step.
"""

from mechgrok.analyses.algorithm.figure import draw
from mechgrok.analyses.algorithm.measurement import VARIABLES, applies, finding, measure

__all__ = ["VARIABLES", "applies", "draw", "finding", "measure"]
