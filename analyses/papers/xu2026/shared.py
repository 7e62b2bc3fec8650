"""The commutator defect of runs with and without weight decay, the same for every network."""

import math
from typing import Any

import xarray as xr

from mechgrok.analyses import papers
from mechgrok.measuring import analyze
from mechgrok.sweeps import Plan, Sweep

#: The paper's onset: ten times the median of the first three measurements, and above 20.
_FACTOR, _LEAST, _FIRST = 10, 20, 3
#: The test accuracy that defines t_grok.
_GROKKED = 0.9


def plan(scale: papers.Scale, network: str) -> Plan:
    """Runs with weight decay and without."""
    return scale.plan(network, over={"weight_decay": "1.0,0.0"})


def draw(sweep: Sweep, network: str) -> papers.Figures:
    """Accuracy and the commutator over training, with weight decay and without."""
    groups = {"weight decay 1": _with(network), "no weight decay": _without(network)}
    return {
        "accuracy": papers.training_figure(sweep, groups, "Accuracy with and without decay"),
        "commutator": papers.analysis_figure(sweep, groups, "commutator"),
    }


def _with(network: str) -> dict[str, Any]:
    return {"network": network, "weight_decay": 1.0}


def _without(network: str) -> dict[str, Any]:
    return {"network": network, "weight_decay": 0.0}


def onset(defect: xr.DataArray) -> float:
    """The first step at which the defect exceeds both of the paper's thresholds; infinite if none.

    >>> onset(xr.DataArray([1.0, 2.0, 3.0, 21.0, 90.0], {"step": [0, 10, 20, 30, 40]}, ["step"]))
    30.0
    """
    least = max(_LEAST, _FACTOR * float(defect[:_FIRST].median()))
    above = defect.step[defect > least].to_numpy()
    return float(above[0]) if above.size else math.inf


def _lead(network: str) -> papers.Quantity:
    """(t_grok − onset) / t_grok; below that of the last checkpoint if there is no onset."""

    def values(sweep: Sweep) -> papers.BySeed:
        leads: dict[object, papers.Bounds] = {}
        groks = papers.t_gen(_GROKKED, **_with(network))(sweep)
        for seed, run in papers.first_runs(sweep, **_with(network)).items():
            if math.isfinite(t := groks[seed].high):
                step, last = onset(analyze(run, "commutator").defect), run.steps[-1]
                at_least_last = papers.Bounds(-math.inf, (t - last) / t)
                exact = papers.Bounds.exactly((t - step) / t)
                leads[seed] = exact if math.isfinite(step) else at_least_last
        return leads

    return papers.Quantity(values)


def _after_memorization(dataset: xr.Dataset) -> float:
    """The onset over t_mem; not finite if one is missing."""
    return onset(dataset.defect) / dataset.attrs.get("t_mem", math.nan)


def _growth(defect: xr.DataArray) -> float:
    """The largest defect over the median of the first three."""
    return float(defect.max() / defect[:_FIRST].median())


def _outside(dataset: xr.Dataset) -> float:
    """‖δ_⊥‖ / ‖δ‖ of the commutator δ, median over checkpoints."""
    return float((1 - dataset.inside).clip(0).median()) ** 0.5


def _above_chance(dataset: xr.Dataset) -> float:
    """‖δ_∥‖ / ‖δ‖ over that of a random direction, median over checkpoints."""
    return float(dataset.inside.median() / dataset.chance) ** 0.5


def claims(network: str) -> dict[str, papers.Claim]:
    """The paper's claims about one network."""
    largest = (
        papers.answer("commutator", lambda dataset: float(dataset.defect.max()), **of)
        for of in (_with(network), _without(network))
    )
    with_decay, without_decay = largest
    return {
        "onset-leads": papers.Claim(
            "The commutator defect begins to grow before the network generalizes.",
            "section on prediction; 12 of 12 runs",
            "(t_grok − onset) / t_grok; t_grok at 90 % test accuracy, the onset as in the paper",
            papers.above(0),
            _lead(network),
            "0.38 on average, 600 to 1,600 steps",
        ),
        "onset-after-memorization": papers.Claim(
            "The defect begins to grow after memorization, not with it.",
            "section on prediction, implied; added here after one seed was seen",
            "onset over t_mem",
            papers.above(1, "log"),
            papers.answer("commutator", _after_memorization, **_with(network)),
        ),
        "growth": papers.Claim(
            "In runs that generalize the defect grows by more than two orders of magnitude.",
            "section on prediction",
            "largest defect over the median of the first three, with weight decay",
            papers.above(100, "log"),
            papers.answer("commutator", lambda dataset: _growth(dataset.defect), **_with(network)),
            "513 to 2,000",
        ),
        "above-control": papers.Claim(
            "The defect grows far larger than in runs without decay, which do not generalize.",
            "section on curvature",
            "largest defect with weight decay over that without",
            papers.above(10, "log"),
            with_decay / without_decay,
            "10 to 1,000",
        ),
        "outside": papers.Claim(
            "The commutator is nearly orthogonal to the directions in which the weights move.",
            "section on invariance",
            "share of its norm outside the path's first two principal components",
            papers.above(0.99),
            papers.answer("commutator", _outside, papers.A_SHARE, **_with(network)),
            "1.000",
        ),
        "above-chance": papers.Claim(
            "Still it lies in these directions more than in random ones.",
            "section on invariance, control",
            "its norm inside the path's plane over that of a random direction",
            papers.above(1, "log"),
            papers.answer("commutator", _above_chance, **_with(network)),
            "1.8 to 2.9",
        ),
        "one-direction": papers.Claim(
            "The weights move essentially along one direction.",
            "section on rank one",
            "share of the path's variance along its first principal component",
            papers.above(0.68),
            papers.answer(
                "trajectory",
                lambda dataset: float(dataset.explained[0]),
                papers.A_SHARE,
                **_with(network),
            ),
            "68 to 83 %, of attention matrices",
        ),
    }
