"""Grokking: Generalization Beyond Overfitting: claims of arXiv 2201.02177 on a small network."""

from typing import Any

from mechgrok.analyses.papers.paper import Paper
from mechgrok.analyses.papers.scale import BaseRuns, Size

#: Overrides of each kind of training in figure 2; without weight decay unless it says otherwise.
_KINDS: dict[str, dict[str, Any]] = {
    "none": {},
    "decay": {"weight_decay": 1.0},
    "dropout": {"dropout": 0.1},
    "mini-batches": {"batch_size": 256},
    "slow": {"learning_rate": 3e-4},
    "fast": {"learning_rate": 3e-3},
    "most-pairs": {"train_fraction": 0.8},
}


def _base_runs(steps: int, budget: int, share: float, **small: Any) -> BaseRuns:
    """Runs for the shares of training pairs, and of each kind, with a budget of steps."""
    common = {"train_fraction": share, "weight_decay": 0.0, "steps": budget}
    kinds = {kind: ("quick", common | of | small) for kind, of in _KINDS.items()}
    return {"shares": ("quick", {"steps": steps, "until_grokked": 0} | small), **kinds}


PAPER = Paper(
    package=__name__,
    title="Grokking: Generalization Beyond Overfitting on Small Algorithmic Datasets",
    authors="Power, Burda, Edwards, Babuschkin and Misra",
    arxiv="2201.02177",
    published="version 1, 2022",
    items=("fig1", "fig2"),
    full=Size(_base_runs(20_000, 6_000, 0.5)),
    quick=Size(_base_runs(6_000, 2_000, 0.7, p=29, d_model=64), paper_steps=3, seeds=2),
)
