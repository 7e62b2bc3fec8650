"""Explaining grokking through circuit efficiency: claims of arXiv 2309.02390, small networks."""

from mechgrok.analyses.papers.paper import Paper
from mechgrok.analyses.papers.scale import BaseRuns, Size


def _base_runs(few: int, steps: int, long: int, **small: int) -> BaseRuns:
    """Runs that lose pairs, runs near the critical number, and runs on true or random labels."""
    return {
        "fewer": ("quick", {"train_fraction": 0.7, "steps": steps} | small),
        "near": ("quick", {"weight_decay": 2.0, "steps": long, "until_grokked": 0} | small),
        "true": ("quick", {"pairs": "unordered", "steps": few} | small),
        "random": ("quick", {"task": "random", "pairs": "unordered", "steps": few} | small),
    }


PAPER = Paper(
    package=__name__,
    title="Explaining grokking through circuit efficiency",
    authors="Varma, Shah, Kenton, Kramár and Kumar",
    arxiv="2309.02390",
    published="version 1, 2023",
    items=("ungrokking", "semi-grokking", "efficiency"),
    full=Size(_base_runs(3_000, 6_000, 10_000)),
    quick=Size(_base_runs(750, 1_500, 2_000, p=23, d_model=64), paper_steps=4, seeds=2),
)
