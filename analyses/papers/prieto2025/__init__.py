"""Grokking at the Edge of Numerical Stability: claims of arXiv 2501.04697, with a small network."""

from typing import Any

from mechgrok.analyses.papers.paper import Paper
from mechgrok.analyses.papers.scale import BaseRuns, Size

#: Cross-entropy as PyTorch computes it: softmax in float32.
_FLOAT32 = {"objective": "cross-entropy-float32"}


def _base_runs(steps: int) -> BaseRuns:
    """Runs with a loss in float32, float64 or with StableMax, with ⊥Grad, and with decay."""
    common: dict[str, Any] = {"train_fraction": 0.7, "learning_rate": 0.01, "weight_decay": 0.0}
    common |= {"steps": steps, "until_grokked": 500, "checkpoint_every": steps // 10}
    kinds: dict[str, dict[str, Any]] = {
        "float32": _FLOAT32,
        "float64": {"objective": "cross-entropy-float64"},
        "stablemax": {"objective": "stablemax"},
        "orthograd": _FLOAT32 | {"transforms": "orthograd"},
        "decay": _FLOAT32 | {"weight_decay": 1.0},
    }
    return {kind: ("quick", common | settings) for kind, settings in kinds.items()}


PAPER = Paper(
    package=__name__,
    title="Grokking at the Edge of Numerical Stability",
    authors="Prieto, Barsbey, Mediano and Birdal",
    arxiv="2501.04697",
    published="ICLR 2025",
    items=("softmax-collapse", "without-decay"),
    full=Size(_base_runs(3_000)),
    quick=Size(_base_runs(1_000), seeds=2),
)
