"""Synergy among neurons peaks before the network generalizes, and weight decay strengthens it."""

from typing import Any

import xarray as xr

from mechgrok.analyses import papers
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "An MLP adds modulo 43, with half of the pairs for training, for 3,000 steps. Synergy is "
    "max(−Ω, 0), with Ω the O-information of Gaussian variables, as a mean over 1,000 random "
    "groups of three neurons, or that of the most synergistic of them. The paper takes groups of "
    "other sizes too, and searches for the most synergistic."
)
_WITH: dict[str, Any] = {"network": "synergy", "weight_decay": 1.0}
_WITHOUT: dict[str, Any] = {"network": "synergy", "weight_decay": 0.0}


def plan(scale: papers.Scale) -> Plan:
    """Runs with weight decay and without."""
    return scale.plan("synergy", over={"weight_decay": "1.0,0.0"})


def draw(sweep: Sweep) -> papers.Figures:
    """Accuracy and synergy over training, with weight decay and without."""
    groups = {"weight decay 1": _WITH, "no weight decay": _WITHOUT}
    return {
        "accuracy": papers.training_figure(sweep, groups, "Accuracy with and without decay"),
        "synergy": papers.analysis_figure(sweep, groups, "synergy"),
    }


def _peak_over(milestone: str, name: str = "synergy") -> papers.Quantity:
    """The step of the largest value over a milestone; runs without the milestone have none."""

    def ratio(dataset: xr.Dataset) -> float:
        peak = float(dataset[name].idxmax())
        return peak / dataset.attrs.get(milestone, float("nan"))

    return papers.answer("synergy", ratio, **_WITH)


def _fall_after_generalization(dataset: xr.Dataset) -> float:
    """The last mean synergy over that at the first checkpoint from t_gen on; NaN without t_gen."""
    if "t_gen" not in dataset.attrs:
        return float("nan")
    return float(dataset.synergy[-1] / dataset.synergy[dataset.step >= dataset.attrs["t_gen"]][0])


def _largest(dataset: xr.Dataset) -> float:
    return float(dataset.synergy.max())


CLAIMS = {
    "before-generalization": papers.Claim(
        "Synergy peaks before the network generalizes.",
        "abstract",
        "step of the largest mean synergy over t_gen",
        papers.below(1, "log"),
        _peak_over("t_gen"),
    ),
    "after-memorization": papers.Claim(
        "The peak is after memorization.",
        "section on phases",
        "step of the largest mean synergy over t_mem",
        papers.above(1, "log"),
        _peak_over("t_mem"),
    ),
    "decays-after": papers.Claim(
        "After generalization neurons decouple: synergy falls.",
        "section on phases",
        "mean synergy at the end over that at the first checkpoint from t_gen on",
        papers.below(1, "log"),
        papers.answer("synergy", _fall_after_generalization, **_WITH),
    ),
    "decay-enhances": papers.Claim(
        "Weight decay strengthens synergy.",
        "abstract",
        "largest mean synergy with weight decay over that without",
        papers.EARLIER,
        papers.answer("synergy", _largest, **_WITH)
        / papers.answer("synergy", _largest, **_WITHOUT),
    ),
    "strongest-before": papers.Claim(
        "The synergy of the most synergistic group peaks before the network generalizes.",
        "section on phases",
        "step of the largest synergy of any of 1,000 groups over t_gen",
        papers.below(1, "log"),
        _peak_over("t_gen", "strongest_synergy"),
    ),
}
