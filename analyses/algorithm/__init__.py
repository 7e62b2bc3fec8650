"""Clock or pizza? Symmetricity, irrelevance, waves by operand distance, phases of neurons.

A network can add residues on circles in two ways. A *clock* multiplies cos(w a) and cos(w b) and so
adds angles; a *pizza* adds the two vectors and reads the direction of their sum, which is short
when they point in opposite directions (Zhong, Liu, Tegmark and Andreas 2023, arXiv 2306.17844).
Gradient symmetricity and distance irrelevance distinguish the two. A third measure works frequency
by frequency: with one frequency's circle alone in the embedding, how fast the wave in the logits
falls with the distance between the operands. The alignment of phases is measured as well: a neuron
that reads cos(w a − φ) + cos(w b − φ) helps if it writes cos(w c − 2φ).

By default, 30 checkpoints are measured, evenly spaced by log step.
"""

from mechgrok.analyses.algorithm.figure import draw
from mechgrok.analyses.algorithm.measurement import (
    USES_TEST_LABELS,
    VARIABLES,
    applies,
    finding,
    measure,
)

VERSION = 3

__all__ = [
    "USES_TEST_LABELS",
    "VARIABLES",
    "VERSION",
    "applies",
    "draw",
    "finding",
    "measure",
]
