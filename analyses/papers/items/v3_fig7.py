"""Masks change most, over δt = 2,000 steps, where test accuracy jumps; on other tasks too."""

from typing import Any

import plotly.graph_objects as go
import xarray as xr

from mechgrok.analyses.papers import runs
from mechgrok.analyses.papers.claims import Claim, within
from mechgrok.analyses.papers.figures import analysis_figure
from mechgrok.analyses.papers.quantities import answer, of_plan
from mechgrok.analyses.papers.scale import Scale
from mechgrok.analyses.similarity import peak
from mechgrok.sweeps import Plan, Sweep

ALSO = ("v3-fig15",)
SETTINGS = (
    "δt is a 15th of the run: 2,000 steps of modular addition. The paper does not say over which "
    "steps test accuracy is compared; here over the same."
)
NAMES = {
    "add": "modular addition",
    "parity": "sparse parity",
    "polynomial": "polynomial regression",
}


def plan(scale: Scale) -> Plan:
    """Base runs of three tasks, with checkpoints."""
    return runs.together(*(runs.runs(scale, name) for name in NAMES))


def draw(sweep: Sweep) -> dict[str, go.Figure]:
    """Jaccard distance over δt and the change of the test curve, for each task."""
    figures = {}
    for name in NAMES:
        some = of_plan(sweep, name)
        if some is not None and some.runs:
            figures[name] = analysis_figure({NAMES[name]: some}, "similarity")
    return figures


def _peak_after_jump(dataset: xr.Dataset) -> float:
    """Steps from where the test curve changes most over δt to where masks do, over δt."""
    found = peak(dataset)
    change = dataset["accuracy_change" if "accuracy_change" in dataset else "log_loss_fall"]
    if found is None or not change.notnull().any():
        return float("nan")
    return (found[0] - int(change.idxmax("step"))) / float(dataset.lag)


def _of(name: str) -> Any:
    def values(sweep: Sweep) -> Any:
        some = of_plan(sweep, name)
        return answer("similarity", _peak_after_jump, stage="base")(some) if some else {}

    return values


CLAIMS = tuple(
    Claim(
        f"peak-{name}",
        f"The masks' distance peaks where the test curve jumps ({words}).",
        "v3, figure 7" if name == "add" else "v3, figure 15",
        "steps from the test curve's largest change over δt to the peak of the distance, over δt",
        within(-1, 1),
        _of(name),
    )
    for name, words in NAMES.items()
)
