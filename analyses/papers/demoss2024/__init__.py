"""The Complexity Dynamics of Grokking: claims of arXiv 2412.09810, with a small network."""

from mechgrok.analyses.papers.paper import Paper
from mechgrok.analyses.papers.scale import BaseRuns, Size


def _base_runs(steps: int) -> BaseRuns:
    """Runs with 25 checkpoints and more at the beginning."""
    every = steps // 25
    common = {"train_fraction": 0.5, "steps": steps, "checkpoint_every": every}
    return {"complexity": ("quick", common)}


PAPER = Paper(
    package=__name__,
    title="The Complexity Dynamics of Grokking",
    authors="DeMoss, Sapora, Foerster, Hawes and Posner",
    arxiv="2412.09810",
    published="Physica D 2025",
    items=("complexity",),
    full=Size(_base_runs(3_000)),
    quick=Size(_base_runs(2_000), seeds=2),
)
