"""Grokking as lazy to rich training: claims of arXiv 2310.06110, small networks, no decay."""

from typing import Any

from mechgrok.analyses.papers.paper import Paper
from mechgrok.analyses.papers.scale import BaseRuns, Size

#: Temperatures T of the softmax: the output is scaled by α = 1 / T.
TEMPERATURES = (1, 8, 32)
#: Regressions by name: the initial scale κ, for an output scale of κ², and the learning rate.
REGRESSIONS = {"rich": (0.5, 0.01), "middle": (1.0, 0.01), "lazy": (2.0, 0.005)}


def _base_runs(steps: int, regression_steps: int, **small: Any) -> BaseRuns:
    """Classifiers without decay, and regressions by plain gradient descent."""
    classifiers = {"train_fraction": 0.7, "weight_decay": 0.0, "steps": steps, "until_grokked": 0}
    regression: dict[str, Any] = {
        **{"train_fraction": 0.35, "bias": False, "init": "normal", "d_mlp": 100},
        **{"weight_decay": 0.0, "optimizer": "sgd", "steps": regression_steps, "until_grokked": 0},
    }
    return {
        "scaled": ("quick", classifiers | {"checkpoint_every": 50} | small),
        **{
            name: ("polynomial", regression | {"init_scale": kappa, "learning_rate": rate})
            for name, (kappa, rate) in REGRESSIONS.items()
        },
    }


PAPER = Paper(
    package=__name__,
    title="Grokking as the transition from lazy to rich training dynamics",
    authors="Kumar, Bordelon, Gershman and Pehlevan",
    arxiv="2310.06110",
    published="ICLR 2024",
    items=("output-scale", "regression", "kernel"),
    full=Size(_base_runs(5_000, 12_000)),
    quick=Size(_base_runs(1_500, 3_000, p=23, d_model=64), seeds=2),
)
