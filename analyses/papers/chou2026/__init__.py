"""Two Speeds of Learning: claims of arXiv 2605.27078 on readouts, with small networks."""

from mechgrok.analyses.papers.paper import Paper
from mechgrok.analyses.papers.scale import BaseRuns, Size


def _base_runs(steps: int, images: int) -> BaseRuns:
    """Runs on modular addition and on images."""
    unordered = {"pairs": "unordered", "train_fraction": 0.75, "weight_decay": 2.0}
    schedule = {"steps": steps, "until_grokked": 200, "checkpoint_every": 100}
    return {
        "addition": ("quick", unordered | schedule),
        # Readouts of images take long: checkpoints after memorization and at every quarter.
        "images": ("digits", {"steps": images, "checkpoint_every": images, "checkpoint_at": [500]}),
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
    quick=Size(_base_runs(1_200, 2_000), seeds=2),
)
