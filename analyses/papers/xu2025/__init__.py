"""Let Me Grok for You (GrokTransfer): claims of arXiv 2504.13292, with a small network."""

from mechgrok.analyses.papers.paper import Paper
from mechgrok.analyses.papers.scale import BaseRuns, Size


def _base_runs(weak: int, steps: int) -> BaseRuns:
    """Weak networks, and networks trained from scratch until they generalize."""
    common = {"train_fraction": 0.5}
    return {
        "weak": ("quick", common | {"d_model": 16, "d_mlp": 32, "steps": weak}),
        "scratch": ("quick", common | {"steps": steps, "until_grokked": 0}),
    }


PAPER = Paper(
    package=__name__,
    title="Let Me Grok for You: Accelerating Grokking via Embedding Transfer from a Weaker Model",
    authors="Xu, Ni, Wang and Hu",
    arxiv="2504.13292",
    published="version 1, 2025",
    items=("transfer",),
    full=Size(_base_runs(1_500, 6_000)),
    quick=Size(_base_runs(1_000, 3_000), seeds=2),
)
