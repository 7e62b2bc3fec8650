"""Two Speeds of Learning: claims of arXiv 2605.27078 on readouts, with small networks."""

from mechgrok.analyses.papers.paper import Paper
from mechgrok.analyses.papers.scale import BaseRuns, Size


def _base_runs(steps: int, images: int) -> BaseRuns:
    """Runs on modular addition and on images, with about 20 checkpoints."""
    unordered = {"pairs": "unordered", "train_fraction": 0.6}
    return {
        "addition": ("quick", unordered | {"steps": steps, "checkpoint_every": steps // 15}),
        "images": ("digits", {"steps": images, "checkpoint_every": images // 10}),
    }


PAPER = Paper(
    package=__name__,
    title="Two Speeds of Learning: A Representation-Readout Decomposition of Grokking and Double "
    "Descent",
    authors="Chou, Uzdelewicz, Chiu, Yang and Chung",
    arxiv="2605.27078",
    published="version 2, 2026",
    items=("addition", "images"),
    full=Size(_base_runs(3_000, 10_000)),
    quick=Size(_base_runs(1_500, 2_000), seeds=2),
)
