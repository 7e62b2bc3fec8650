"""The Weight Norm Sets the Grokking Timescale: claims of arXiv 2606.13753, with a small network."""

from typing import Any

from mechgrok.analyses.papers.paper import Paper
from mechgrok.analyses.papers.scale import BaseRuns, Size

#: W_c, the norm at which free runs generalize, rounded: 35.7 and 34.9 in two seeds tried before.
CRITICAL = 35.0


def _base_runs(steps: int, held: int, normalized: int) -> BaseRuns:
    """Free runs with weight decay, and runs with a held norm without it, until they generalize."""
    free: dict[str, Any] = {"train_fraction": 0.5, "until_grokked": 0, "steps": steps}
    on_sphere = free | {"steps": held, "weight_decay": 0.0}
    at_critical = on_sphere | {"constraints": f"norm:value={CRITICAL:g}"}
    on_more_pairs = on_sphere | {"steps": normalized, "train_fraction": 0.7}
    layer_norm = {"norm": "layer", "norm_at": "end", "norm_learned": False}
    return {
        "rates": ("quick", free),
        "moduli": ("quick", free),
        "held": ("quick", on_sphere),
        "held-rates": ("quick", at_critical),
        "unnormalized": ("quick", on_more_pairs),
        "normalized": ("quick", on_more_pairs | layer_norm),
    }


PAPER = Paper(
    package=__name__,
    title="The Weight Norm Sets the Grokking Timescale: A Causal Delay Law",
    authors="Khanh, Viet, Trung and Duc",
    arxiv="2606.13753",
    published="version 1, 2026",
    items=("critical-norm", "held-norm", "layer-norm"),
    full=Size(_base_runs(10_000, 10_000, 4_000)),
    quick=Size(_base_runs(3_000, 2_500, 2_000), seeds=2),
)
