"""Neurons become single waves with aligned phases; their frequencies and phases are spread."""

import xarray as xr

from mechgrok.analyses import papers
from mechgrok.analyses.papers.he2026 import EMBEDDED, INDEPENDENT, NETWORKS
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "The paper trains a hidden layer of 512 ReLUs on one-hot inputs, from small weights and "
    "without decay, on all pairs modulo 23. Here 256 ReLUs, initial weights 0.1 times the usual, "
    "and 5 % of the pairs held out. In one network the embedding and the unembedding are wide, "
    "random and frozen, so that each neuron learns its own inputs and outputs, as in the paper "
    "(learning rate 0.01); in the other, the default one here, they are trained, and neurons share "
    "them. There are 11 frequencies."
)
_SHOWN = {network: NETWORKS[network] for network in (INDEPENDENT, EMBEDDED)}


def plan(scale: papers.Scale) -> Plan:
    """Networks of ReLUs."""
    return papers.join(scale.plan(network) for network in _SHOWN)


def draw(sweep: Sweep) -> papers.Figures:
    """Accuracy, and the phases and frequencies over training."""
    groups = {name: {"network": network} for network, name in _SHOWN.items()}
    return {
        "accuracy": papers.training_figure(sweep, groups, "Learning from a small start"),
        "lottery": papers.analysis_figure(sweep, groups, "lottery"),
    }


def _last(network: str, name: str) -> papers.Quantity:
    """A variable of the lottery at the last checkpoint."""
    return papers.answer("lottery", lambda dataset: float(dataset[name][-1]), network=network)


def _asymmetry(dataset: xr.Dataset) -> float:
    """What phases leave, over what random phases leave, at the last checkpoint."""
    last = dataset.isel(step=-1)
    return float((1 - last.phase_symmetry) / (1 - last.random_symmetry))


def _claims(network: str) -> dict[str, papers.Claim]:
    """The claims about one network."""
    name = NETWORKS[network]
    return {
        "one-frequency": papers.Claim(
            f"Each neuron ends as a wave of a single frequency ({name}).",
            "section on the mechanism",
            "share of a neuron's power in its strongest frequency, median over neurons",
            papers.above(0.9),
            papers.answer(
                "fourier",
                lambda dataset: float(dataset.share.isel(step=-1).median()),
                papers.A_SHARE,
                network=network,
            ),
        ),
        "aligned": papers.Claim(
            f"Its output phase is twice its input phase ({name}).",
            "section on the mechanism",
            "mean of |2φ_in − φ_out| over neurons at the end, in radians (random phases: 1.57)",
            papers.below(0.3),
            _last(network, "misalignment"),
        ),
        "symmetric": papers.Claim(
            f"Phases of neurons with one frequency cancel more than random ones would ({name}).",
            "section on diversification",
            "1 − phase symmetry at the end over that of random phases",
            papers.below(1, "log"),
            papers.answer("lottery", _asymmetry, network=network),
        ),
        "diversified": papers.Claim(
            f"Neurons spread over all frequencies ({name}).",
            "section on diversification",
            "effective number of frequencies at the end, of 11",
            papers.above(8),
            _last(network, "frequency_spread"),
            "all",
        ),
    }


CLAIMS = {
    f"{name}-{network}": claim for network in _SHOWN for name, claim in _claims(network).items()
}
