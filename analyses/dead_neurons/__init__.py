"""Which neurons are dead, and which does the network need? Their norms; knocked out and revived.

A neuron is dead when nothing reaches it: no weight into it is kept by the mask (in a dense run, by
the checkpoint's magnitude mask), or its input weights have shrunk to a hundredth of the largest
neuron's. Killing the dead and giving them back their edges shows what they are good for; removing
each neuron, and each group of neurons of one frequency, shows what the others do (Minegishi et al.
2023, arXiv 2310.19470, version 2, fig. 13; there 18.75 % of the edges hung on dead neurons).
"""

from mechgrok.analyses.dead_neurons.figure import draw
from mechgrok.analyses.dead_neurons.measurement import (
    STATES,
    VARIABLES,
    finding,
    knock_out,
    measure,
)

__all__ = ["STATES", "VARIABLES", "draw", "finding", "knock_out", "measure"]
