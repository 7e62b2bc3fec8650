"""Neurons become single waves with aligned phases; their frequencies and phases are spread."""

import xarray as xr

from mechgrok.analyses import papers
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "As in the paper: a + b modulo 23 with one hidden layer of ReLUs, small initial weights (0.1 "
    "times the usual), no weight decay. The paper's network has 512 neurons, reads one-hot inputs "
    "and trains on all pairs; here 256 neurons read an embedding of width 64, and 5 % of the pairs "
    "are held out. There are 11 frequencies."
)


def plan(scale: papers.Scale) -> Plan:
    """Networks of ReLUs."""
    return scale.plan("relu")


def draw(sweep: Sweep) -> papers.Figures:
    """Accuracy, and the phases and frequencies over training."""
    groups = {"ReLU": {"network": "relu"}}
    return {
        "accuracy": papers.training_figure(sweep, groups, "Learning from a small start"),
        "lottery": papers.analysis_figure(sweep, groups, "lottery"),
    }


def _last(name: str, possible: papers.Bounds) -> papers.Quantity:
    return papers.answer(
        "lottery", lambda dataset: float(dataset[name][-1]), possible, network="relu"
    )


def _asymmetry(dataset: xr.Dataset) -> float:
    """What phases leave, over what random phases leave, at the last checkpoint."""
    last = dataset.isel(step=-1)
    return float((1 - last.phase_symmetry) / (1 - last.random_symmetry))


_ANYTHING = papers.Bounds(float("-inf"), float("inf"))
CLAIMS = {
    "one-frequency": papers.Claim(
        "Each neuron ends as a wave of a single frequency.",
        "section on the mechanism",
        "share of a neuron's power in its strongest frequency, median over neurons",
        papers.above(0.9),
        papers.answer(
            "fourier",
            lambda dataset: float(dataset.share.isel(step=-1).median()),
            papers.A_SHARE,
            network="relu",
        ),
    ),
    "aligned": papers.Claim(
        "Its output phase is twice its input phase.",
        "section on the mechanism",
        "mean of |2φ_in − φ_out| over neurons at the end, in radians (1.57 for random phases)",
        papers.below(0.3),
        _last("misalignment", _ANYTHING),
    ),
    "symmetric": papers.Claim(
        "Over the neurons of a frequency the phases cancel, more than random ones would.",
        "section on diversification",
        "1 − phase symmetry at the end over that of random phases",
        papers.below(1, "log"),
        papers.answer("lottery", _asymmetry, network="relu"),
    ),
    "diversified": papers.Claim(
        "Neurons spread over all frequencies.",
        "section on diversification",
        "effective number of frequencies at the end, of 11",
        papers.above(8),
        _last("frequency_spread", _ANYTHING),
        "all of them",
    ),
}
