"""Omnigrok: claims of arXiv 2210.01117 on the weight norm, with small networks."""

from typing import Any

from mechgrok.analyses.papers.paper import Paper
from mechgrok.analyses.papers.scale import BaseRuns, Size

#: Scales of initialization on modular addition; the runs of 1 are also the free ones of spheres.
SCALES = "1,2,4"


def _base_runs(
    steps: int, share: float, images: dict[str, Any] | None = None, **small: Any
) -> BaseRuns:
    """Runs with this share of the pairs, until they generalize; on spheres without decay."""
    add = {"train_fraction": share, "until_grokked": 0, "steps": steps} | small
    return {
        "scales": ("quick", add),
        "images": ("digits", {"until_grokked": 0} | (images or {})),
        "spheres": ("quick", add | {"weight_decay": 0.0}),
        "late-sphere": ("quick", add),
    }


PAPER = Paper(
    package=__name__,
    title="Omnigrok: Grokking Beyond Algorithmic Data",
    authors="Liu, Michaud and Tegmark",
    arxiv="2210.01117",
    published="ICLR 2023",
    items=("init-scale", "sphere"),
    full=Size(_base_runs(10_000, 0.5)),
    quick=Size(_base_runs(2_500, 0.7, {"steps": 5_000}, p=29, d_model=64), seeds=2),
)
