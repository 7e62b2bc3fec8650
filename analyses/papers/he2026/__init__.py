"""On the Mechanism and Dynamics of Modular Addition: claims of arXiv 2602.16849, small networks."""

from typing import Any

from mechgrok.analyses.papers.paper import Paper
from mechgrok.analyses.papers.scale import BaseRuns, Size

_NETWORK: dict[str, Any] = {"p": 23, "d_model": 64, "d_mlp": 256}


def _base_runs(steps: int, grokking: int) -> BaseRuns:
    """Networks that learn nearly all pairs from a small start, and networks that grok."""

    def network(steps: int, **settings: Any) -> dict[str, Any]:
        return _NETWORK | {"steps": steps, "checkpoint_every": steps // 15} | settings

    small = network(steps, train_fraction=0.95, weight_decay=0.0, init_scale=0.1)
    return {
        "relu": ("quick", small),
        "quadratic": ("quick", small | {"act": "quadratic"}),
        "grokking": ("quick", network(grokking, train_fraction=0.6, weight_decay=2.0)),
    }


PAPER = Paper(
    package=__name__,
    title="On the Mechanism and Dynamics of Modular Addition: Fourier Features, Lottery Ticket, "
    "and Grokking",
    authors="He, Wang, Chen and Yang",
    arxiv="2602.16849",
    published="version 1, 2026",
    items=("features", "lottery", "stages"),
    full=Size(_base_runs(1_500, 3_000)),
    quick=Size(_base_runs(600, 1_500), seeds=2),
)
