"""The compressed size of the weights rises with memorization and falls with generalization."""

from typing import Any

import xarray as xr

from mechgrok.analyses import papers
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "The paper trains transformers on modular arithmetic; here an MLP adds modulo 43, with half of "
    "the pairs for training, for 3,000 steps. The compressed size is that of the rounded weights "
    "under bzip2, at 20 checkpoints. The paper searches over more kinds of rounding; its "
    "regularizer, a penalty on the spectral entropy, is not tested."
)
_WITH: dict[str, Any] = {"network": "complexity", "weight_decay": 1.0}
_WITHOUT: dict[str, Any] = {"network": "complexity", "weight_decay": 0.0}


def plan(scale: papers.Scale) -> Plan:
    """Runs with weight decay and without."""
    return scale.plan("complexity", over={"weight_decay": "1.0,0.0"})


def draw(sweep: Sweep) -> papers.Figures:
    """Accuracy and complexity over training, with weight decay and without."""
    groups = {"weight decay 1": _WITH, "no weight decay": _WITHOUT}
    return {
        "accuracy": papers.training_figure(sweep, groups, "Accuracy with and without decay"),
        "complexity": papers.analysis_figure(sweep, groups, "complexity"),
    }


def _rise(dataset: xr.Dataset) -> float:
    """The size at the first checkpoint from t_mem on over that at step 0; NaN without t_mem."""
    return _memorized(dataset) / float(dataset.compressed_size[0])


def _fall(dataset: xr.Dataset) -> float:
    """The last size over that at the first checkpoint from t_mem on; NaN without t_mem."""
    return _last(dataset) / _memorized(dataset)


def _late_fall(dataset: xr.Dataset) -> float:
    """The last size over the last one before t_gen; NaN without t_gen."""
    if "t_gen" not in dataset.attrs:
        return float("nan")
    size = dataset.compressed_size
    return float(size[-1] / size[dataset.step < dataset.attrs["t_gen"]][-1])


def _memorized(dataset: xr.Dataset) -> float:
    """The size at the first checkpoint from t_mem on; NaN without t_mem."""
    if "t_mem" not in dataset.attrs:
        return float("nan")
    return float(dataset.compressed_size[dataset.step >= dataset.attrs["t_mem"]][0])


def _last(dataset: xr.Dataset) -> float:
    return float(dataset.compressed_size[-1])


CLAIMS = {
    "rises": papers.Claim(
        "Complexity rises while the network memorizes.",
        "abstract",
        "compressed size at memorization over that at step 0",
        papers.above(1, "log"),
        papers.answer("complexity", _rise, **_WITH),
    ),
    "falls": papers.Claim(
        "With weight decay it falls as the network generalizes.",
        "abstract",
        "compressed size at the end over that at memorization",
        papers.below(1, "log"),
        papers.answer("complexity", _fall, **_WITH),
    ),
    "falls-with-generalization": papers.Claim(
        "The fall comes with generalization, not before it.",
        "abstract",
        "compressed size at the end over the last one before t_gen",
        papers.below(1, "log"),
        papers.answer("complexity", _late_fall, **_WITH),
    ),
    "trapped": papers.Claim(
        "Without regularization the network stays complex.",
        "abstract",
        "compressed size at the end over that at memorization, without weight decay",
        papers.above(0.8, "log"),
        papers.answer("complexity", _fall, **_WITHOUT),
    ),
    "simpler-with-decay": papers.Claim(
        "The network with weight decay ends simpler than the one without.",
        "abstract",
        "compressed size at the end without weight decay over that with it",
        papers.EARLIER,
        papers.answer("complexity", _last, **_WITHOUT)
        / papers.answer("complexity", _last, **_WITH),
    ),
}
