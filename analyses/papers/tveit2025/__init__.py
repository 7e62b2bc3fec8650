"""Muon Optimizer Accelerates Grokking: claims of arXiv 2504.16041 on a small transformer."""

from typing import Any

from mechgrok.analyses.papers.paper import Paper
from mechgrok.analyses.papers.scale import BaseRuns, Size

#: The configurations: task, objective, and a name for figures.
CONFIGURATIONS = {
    "add": ("add", "cross-entropy", "addition"),
    "mul": ("mul", "cross-entropy", "multiplication"),
    "stablemax": ("add", "stablemax", "addition with StableMax"),
}
#: AdamW, and Muon with a decay of its matrices as strong in each step as AdamW's.
_OPTIMIZERS: dict[str, dict[str, Any]] = {
    "adamw": {"optimizer": "adamw"},
    "muon": {"optimizer": "muon", "weights": {"inside": {"weight_decay": 0.05}}},
}


def _base_runs(**size: Any) -> BaseRuns:
    """Runs of each configuration with each optimizer, until they generalize."""
    transformer = {"model": "transformer", "n_heads": 4, "norm": "rms", "act": "silu"}
    common = transformer | {"equals": True, "bias": True, "until_grokked": 0} | size
    return {
        f"{name}-{optimizer}": ("quick", common | {"task": task, "objective": objective} | options)
        for name, (task, objective, _) in CONFIGURATIONS.items()
        for optimizer, options in _OPTIMIZERS.items()
    }


PAPER = Paper(
    package=__name__,
    title="Muon Optimizer Accelerates Grokking",
    authors="Tveit, Remseth and Skogvold",
    arxiv="2504.16041",
    published="version 1, 2025",
    items=("optimizers",),
    full=Size(_base_runs(p=43, d_model=64, d_mlp=128, train_fraction=0.5, steps=3_000)),
    quick=Size(_base_runs(p=19, d_model=32, d_mlp=64, train_fraction=0.7, steps=1_200), seeds=2),
)
