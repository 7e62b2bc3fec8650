"""What kind of graph is the subnetwork? Spectra, path lengths, clustering, and a picture.

The edges are the unpruned weights of a run's mask or, in a dense run, the largest (1 − k) of each
checkpoint. The analysis measures each layer's spectral, weighted spectral and Ramanujan gap (Hoang
et al. 2023), path length and four-cycle clustering of the neuron graph, and path length, clustering
and small-world index of the relational graph (You et al. 2020, arXiv 2007.06559), which Minegishi
et al. 2023 (arXiv 2310.19470, version 3, fig. 9 and 20) follow through grokking. For definitions
and formulas see `mechgrok.analyses.measures.graphs`.
"""

from mechgrok.analyses.graph.figure import draw
from mechgrok.analyses.graph.measurement import USES_TEST_LABELS, VARIABLES, finding, measure

__all__ = ["USES_TEST_LABELS", "VARIABLES", "draw", "finding", "measure"]
