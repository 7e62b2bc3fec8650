"""Progress measures for grokking: claims of arXiv 2301.05217 on a small transformer."""

from typing import Any

from mechgrok.analyses.papers.paper import Paper
from mechgrok.analyses.papers.scale import BaseRuns, Size


def _base_runs(steps: int, every: int, **small: Any) -> BaseRuns:
    """Transformers of the authors' shape, smaller, with checkpoints throughout."""
    return {"add": ("nanda", {"steps": steps, "checkpoint_every": every} | small)}


PAPER = Paper(
    package=__name__,
    title="Progress measures for grokking via mechanistic interpretability",
    authors="Nanda, Chan, Lieberum, Smith and Steinhardt",
    arxiv="2301.05217",
    published="ICLR 2023",
    items=("phases", "structure"),
    full=Size(_base_runs(3_000, 50, p=43, d_model=64, d_mlp=128, train_fraction=0.6)),
    quick=Size(
        _base_runs(
            1_200, 40, p=23, d_model=32, n_heads=2, d_mlp=64, train_fraction=0.8, weight_decay=2.0
        ),
        seeds=2,
    ),
)
