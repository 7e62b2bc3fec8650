"""Which neurons are dead, and which neurons matter? Norms, knock-outs and revivals.

A neuron is dead if it has no input: the mask (in a dense run, the checkpoint's magnitude mask)
prunes all of its input weights, or their norm is below a hundredth of the largest neuron's. Killing
dead neurons and restoring their edges tests their effect; removing each neuron, and each group of
neurons of one frequency, tests the others (Minegishi et al. 2023, arXiv 2310.19470, version 2,
fig. 13, where dead neurons have 18.75 % of the edges).
"""

from mechgrok.analyses.dead_neurons.figure import draw
from mechgrok.analyses.dead_neurons.measurement import (
    SCALARS,
    STATES,
    USES_TEST_LABELS,
    VARIABLES,
    finding,
    knock_out,
    measure,
)

__all__ = [
    "SCALARS",
    "STATES",
    "USES_TEST_LABELS",
    "VARIABLES",
    "draw",
    "finding",
    "knock_out",
    "measure",
]
