"""Omnigrok: claims of arXiv 2210.01117 on the weight norm, with small networks."""

from typing import Any

from mechgrok.analyses.papers.paper import Paper
from mechgrok.analyses.papers.scale import BaseRuns, Size

#: Half of the pairs train, and on spheres there is no weight decay.
_ADD: dict[str, Any] = {"train_fraction": 0.5, "until_grokked": 0}
_SPHERE = _ADD | {"weight_decay": 0.0}


def _base_runs(steps: int, images: dict[str, Any], **small: Any) -> BaseRuns:
    return {
        "scales": ("quick", _ADD | {"steps": steps} | small),
        "images": ("digits", {"until_grokked": 0} | images),
        "free": ("quick", _ADD | {"steps": steps} | small),
        "spheres": ("quick", _SPHERE | {"steps": steps} | small),
        "late-sphere": ("quick", _ADD | {"steps": steps} | small),
    }


PAPER = Paper(
    package=__name__,
    title="Omnigrok: Grokking Beyond Algorithmic Data",
    authors="Liu, Michaud and Tegmark",
    arxiv="2210.01117",
    published="ICLR 2023",
    items=("init-scale", "sphere"),
    full=Size(_base_runs(10_000, {})),
    quick=Size(_base_runs(1_500, {"steps": 3_000}, p=29, d_model=64), paper_steps=5, seeds=2),
)
