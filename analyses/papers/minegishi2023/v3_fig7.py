"""Masks change most, over δt = 2,000 steps, when test accuracy jumps; on other tasks too."""

import xarray as xr

from mechgrok.analyses import papers
from mechgrok.analyses.similarity import peak
from mechgrok.sweeps import Plan, Sweep

ALSO = ("v3-fig15",)
SETTINGS = (
    "δt is about a 15th of the run; for modular addition, the paper has 2,000 steps. The "
    "paper does not specify the interval of the change of test accuracy; here it is the same δt."
)
NAMES = {
    "add": "modular addition",
    "parity": "sparse parity",
    "polynomial": "polynomial regression",
}


def plan(scale: papers.Scale) -> Plan:
    """Base runs of three tasks, with checkpoints."""
    return papers.join(scale.plan(network) for network in NAMES)


def draw(sweep: Sweep) -> papers.Figures:
    """Jaccard distance over δt and the change of the test curve, for each task."""
    return {
        network: papers.analysis_figure(sweep, {name: {"network": network}}, "similarity")
        for network, name in NAMES.items()
        if papers.select(sweep, network=network)
    }


def _peak_after_jump(dataset: xr.Dataset) -> float:
    """Steps from the test curve's largest change over δt to the masks', as a share of δt."""
    largest = peak(dataset)
    change = dataset["accuracy_change" if "accuracy_change" in dataset else "log_loss_fall"]
    if largest is None or not change.notnull().any():
        return float("nan")
    return (largest[0] - int(change.idxmax("step"))) / float(dataset.lag)


CLAIMS = {
    f"peak-{network}": papers.Claim(
        f"The masks' distance peaks where the test curve jumps ({name}).",
        "v3, figure 7" if network == "add" else "v3, figure 15",
        "steps from the test curve's largest change over δt to the peak of the distance, over δt",
        papers.within(-1, 1),
        papers.answer("similarity", _peak_after_jump, network=network, stage="base"),
    )
    for network, name in NAMES.items()
}
