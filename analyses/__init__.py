"""Questions asked of runs: one module, one question."""

#: The order in which a report tells them, a story that builds up. Others follow by their names.
STORY = (
    "accuracy",
    "fourier",
    "representations",
    "periodicity",
    "entropy",
    "embedding",
    "activations",
    "algorithm",
    "progress",
    "pairs",
    "norms",
    "weights",
    "similarity",
    "dead-neurons",
    "graph",
    "patching",
    "stability",
    "landscape",
    "llc",
    "complexity",
    "trajectory",
)
#: Those whose findings are the report's first lines.
SUMMARY = ("accuracy", "progress", "fourier")
