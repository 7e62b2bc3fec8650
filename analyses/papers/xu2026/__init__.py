"""Low-Dimensional and Transversely Curved Dynamics: claims of arXiv 2602.16746, small networks."""

from typing import Any

from mechgrok.analyses.papers.paper import Paper
from mechgrok.analyses.papers.scale import BaseRuns, Size

#: The paper's transformer, smaller.
_TRANSFORMER: dict[str, Any] = {
    **{"p": 29, "pairs": "ordered", "d_model": 32, "n_heads": 1, "d_mlp": 64, "n_layers": 1},
    **{"norm": "layer", "norm_at": "before+end", "act": "gelu"},
    **{"train_fraction": 0.7, "learning_rate": 0.003},
}


def _base_runs(steps: int, of_transformer: int) -> BaseRuns:
    """Runs with 25 checkpoints and more at the beginning."""

    def lasting(steps: int) -> dict[str, Any]:
        return {"steps": steps, "checkpoint_every": steps // 25}

    return {
        "mlp": ("quick", lasting(steps) | {"train_fraction": 0.5}),
        "transformer": ("paper-transformer", _TRANSFORMER | lasting(of_transformer)),
    }


PAPER = Paper(
    package=__name__,
    title="Low-Dimensional and Transversely Curved Optimization Dynamics in Grokking",
    authors="Xu",
    arxiv="2602.16746",
    published="versions 1 to 3, 2026",
    items=("mlp", "transformer"),
    full=Size(_base_runs(2_500, 750)),
    quick=Size(_base_runs(1_500, 400), seeds=2),
)
