"""Grokfast: claims of arXiv 2405.20233 on small networks, against equal weight decay as well."""

from typing import Any

from mechgrok.analyses.papers.paper import Paper
from mechgrok.analyses.papers.scale import BaseRuns, Size

#: The authors' settings of a filter: the transform, and weight decay in Adam's gradient, 2 l2 θ.
_FILTERS = {"ema": ("grokfast-ema", 0.0025), "ma": ("grokfast-ma", 0.005)}
_ATTENTION: dict[str, Any] = {
    **{"task": "mul", "pairs": "ordered", "equals": True, "train_fraction": 0.5},
    **{"model": "transformer", "n_heads": 4, "act": "gelu", "norm": "layer", "bias": True},
    **{"weight_decay": 0.0, "batch_size": 512, "until_grokked": 0},
}


def _base_runs(
    transformer: dict[str, Any], mlp: dict[str, Any], digits: dict[str, Any]
) -> BaseRuns:
    """Runs without filter and decay, with each filter, and with its decay alone."""
    attention = _ATTENTION | transformer
    runs: dict[str, tuple[str, dict[str, Any]]] = {"none": ("quick", attention)}
    for name, (filter_, l2) in _FILTERS.items():
        runs[name] = ("quick", attention | {"transform": filter_, "l2": l2})
        runs[f"{name}-decay"] = ("quick", attention | {"l2": l2})
    until = {"until_grokked": 0}
    runs["mlp"] = ("quick", {"task": "mul", "train_fraction": 0.5} | until | mlp)
    images = until | digits
    filtered = {"transform": "grokfast-ema:alpha=0.8:lamb=0.1", "weight_decay": 2.0}
    runs["digits-none"] = ("digits", images | {"weight_decay": 0.01})
    runs["digits-ema"] = ("digits", images | filtered)
    runs["digits-decay"] = ("digits", images | {"weight_decay": 2.0})
    return runs


PAPER = Paper(
    package=__name__,
    title="Grokfast: Accelerated Grokking by Amplifying Slow Gradients",
    authors="Lee, Kang, Kim and Lee",
    arxiv="2405.20233",
    published="version 2, 2024",
    items=("transformer", "mlp", "digits"),
    full=Size(
        _base_runs(
            {"p": 43, "d_model": 64, "d_mlp": 256, "steps": 3_000},
            {"steps": 8_000},
            {"steps": 6_000},
        )
    ),
    quick=Size(
        _base_runs(
            {"p": 23, "d_model": 32, "d_mlp": 64, "train_fraction": 0.7, "steps": 1_000},
            {"p": 23, "d_model": 64, "train_fraction": 0.7, "steps": 1_000},
            {"steps": 1_000},
        ),
        seeds=2,
    ),
)
