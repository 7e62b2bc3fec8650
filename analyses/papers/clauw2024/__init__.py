"""Information-Theoretic Progress Measures: claims of arXiv 2408.08944, with a small network."""

from mechgrok.analyses.papers.paper import Paper
from mechgrok.analyses.papers.scale import BaseRuns, Size


def _base_runs(steps: int) -> BaseRuns:
    """Runs with 50 checkpoints and more at the beginning."""
    every = steps // 50
    common = {"train_fraction": 0.5, "steps": steps, "checkpoint_every": every}
    return {"synergy": ("quick", common)}


PAPER = Paper(
    package=__name__,
    title="Information-Theoretic Progress Measures reveal Grokking is an Emergent Phase Transition",
    authors="Clauw, Stramaglia and Marinazzo",
    arxiv="2408.08944",
    published="ICML 2024 workshop on mechanistic interpretability",
    items=("synergy",),
    full=Size(_base_runs(3_000)),
    quick=Size(_base_runs(2_000), seeds=2),
)
