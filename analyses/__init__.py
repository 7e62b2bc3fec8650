"""Analyses of training runs, one module for each question."""

#: The order of analyses in a report; analyses not listed follow in alphabetical order.
STORY = (
    "accuracy",
    "fourier",
    "representations",
    "periodicity",
    "entropy",
    "lottery",
    "careers",
    "embedding",
    "activations",
    "algorithm",
    "homology",
    "progress",
    "pairs",
    "norms",
    "weights",
    "spectra",
    "similarity",
    "dead-neurons",
    "graph",
    "patching",
    "readout",
    "kernel",
    "synergy",
    "stability",
    "commutator",
    "landscape",
    "llc",
    "complexity",
    "trajectory",
)
#: Analyses whose findings open the report.
SUMMARY = ("accuracy", "progress", "fourier")
