"""Low-Dimensional and Transversely Curved Dynamics: claims of arXiv 2602.16746, small networks."""

from typing import Any

from mechgrok.analyses.papers.paper import Paper
from mechgrok.analyses.papers.scale import BaseRuns, Size

#: The paper's transformer, smaller.
_TRANSFORMER: dict[str, Any] = {
    **{"p": 43, "pairs": "ordered", "d_model": 64, "n_heads": 4, "d_mlp": 128, "n_layers": 2},
    **{"norm": "layer", "norm_at": "before+end", "act": "gelu"},
}


def _base_runs(steps: int, of_transformer: int) -> BaseRuns:
    """Runs with 25 checkpoints and more at the beginning."""

    def lasting(steps: int) -> dict[str, Any]:
        return {"train_fraction": 0.5, "steps": steps, "checkpoint_every": steps // 25}

    return {
        "mlp": ("quick", lasting(steps)),
        "transformer": ("paper-transformer", _TRANSFORMER | lasting(of_transformer)),
    }


PAPER = Paper(
    package=__name__,
    title="Low-Dimensional and Transversely Curved Optimization Dynamics in Grokking",
    authors="Xu",
    arxiv="2602.16746",
    published="versions 1 to 3, 2026",
    items=("mlp", "transformer"),
    full=Size(_base_runs(2_500, 1_500)),
    quick=Size(_base_runs(1_500, 500), seeds=2),
)
