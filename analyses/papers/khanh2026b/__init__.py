"""What Does the Weight Norm Control in Grokking?: claims of arXiv 2606.18465, small network."""

from typing import Any

from mechgrok.analyses.papers.paper import Paper
from mechgrok.analyses.papers.scale import BaseRuns, Size


def _base_runs(steps: int) -> BaseRuns:
    """Runs with a held norm and a temperature, without weight decay, until they generalize."""
    held: dict[str, Any] = {"train_fraction": 0.5, "until_grokked": 0, "weight_decay": 0.0}
    held |= {"metrics": "logit_scale", "steps": steps}
    return {"softmax": ("quick", held)}


PAPER = Paper(
    package=__name__,
    title="What Does the Weight Norm Control in Grokking? Logit-Scale Mediation under "
    "Cross-Entropy",
    authors="Khanh",
    arxiv="2606.18465",
    published="version 1, 2026",
    items=("temperature", "logit-scale"),
    full=Size(_base_runs(8_000)),
    quick=Size(_base_runs(2_500), seeds=2),
)
