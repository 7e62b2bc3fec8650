"""On the Mechanism and Dynamics of Modular Addition: claims of arXiv 2602.16849, small networks."""

from typing import Any

from mechgrok.analyses.papers.paper import Paper
from mechgrok.analyses.papers.scale import BaseRuns, Size

#: The network of each base run in `features` and `lottery`, by its name in figures.
INDEPENDENT, SQUARES, EMBEDDED = "independent", "squares", "embedded"
NETWORKS = {
    INDEPENDENT: "ReLUs on fixed inputs",
    SQUARES: "x² on fixed inputs",
    EMBEDDED: "ReLUs on a trained embedding",
}


def _base_runs(steps: int, grokking: int) -> BaseRuns:
    """Networks that learn nearly all pairs from a small start, and networks that grok."""

    def network(steps: int, **settings: Any) -> tuple[str, dict[str, Any]]:
        every = {"steps": steps, "checkpoint_every": steps // 15}
        return "quick", {"p": 23, "d_model": 64, "d_mlp": 256} | every | settings

    small = {"train_fraction": 0.95, "weight_decay": 0.0, "init_scale": 0.1}
    fixed = {"d_model": 256, "constraints": "freeze:of=W_E+W_U", "learning_rate": 0.01}
    return {
        INDEPENDENT: network(steps, **small, **fixed),
        SQUARES: network(steps, **small, **fixed, act="quadratic"),
        EMBEDDED: network(steps, **small),
        "grokking": network(grokking, train_fraction=0.6, weight_decay=2.0),
    }


PAPER = Paper(
    package=__name__,
    title="On the Mechanism and Dynamics of Modular Addition: Fourier Features, Lottery Ticket, "
    "and Grokking",
    authors="He, Wang, Chen and Yang",
    arxiv="2602.16849",
    published="version 1, 2026",
    items=("features", "lottery", "stages"),
    full=Size(_base_runs(600, 3_000)),
    quick=Size(_base_runs(300, 1_500), seeds=2),
)
