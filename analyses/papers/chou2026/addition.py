"""Before generalization the readout is biased to the training set, not the representation."""

import xarray as xr

from mechgrok.analyses import papers
from mechgrok.analyses.papers.chou2026.shared import at, lead
from mechgrok.analyses.papers.chou2026.shared import draw as draw_readout
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "An MLP adds unordered pairs modulo 43, with 75 % of them for training and weight decay 2. "
    "The readout, the map from the hidden layer to the answers, is fitted anew by logistic "
    "regression at each checkpoint, from the training labels or also from four fifths of the "
    "other labels. The plateau is read at the checkpoint nearest to half of t_gen."
)
_PLATEAU = at("t_gen", 0.5)


def plan(scale: papers.Scale) -> Plan:
    """Runs with weight decay."""
    return scale.plan("addition")


def draw(sweep: Sweep) -> papers.Figures:
    """Accuracy of the network and of refitted readouts."""
    return draw_readout(sweep, "addition", "a + b mod 43")


def _growth(dataset: xr.Dataset) -> float:
    """The accuracy of a readout from all labels on the plateau less that at memorization."""
    plateau, start = _PLATEAU(dataset), at("t_mem")(dataset)
    if plateau is None or start is None:
        return float("nan")
    return float(plateau.test_refit_all - start.test_refit_all)


def _above_random(dataset: xr.Dataset) -> float:
    """The accuracy of a readout from all labels on the plateau less that of a random network."""
    if (plateau := _PLATEAU(dataset)) is None:
        return float("nan")
    control = dataset.control_accuracy.isel(layer=-1).sel(fit="logistic", labels="all")
    return float(plateau.test_refit_all - control)


CLAIMS = {
    "readout-biased": papers.Claim(
        "Before generalization the readout is biased to the training set.",
        "abstract",
        "test accuracy of a readout from all labels on the plateau less the network's",
        papers.above(0.05),
        lead("addition", "test_refit_all", "test_accuracy", _PLATEAU),
    ),
    "train-labels-suffice": papers.Claim(
        "A new readout from the training labels alone uses the representation better.",
        "a consequence of the mechanism, not a claim of the text",
        "test accuracy of a readout from training labels on the plateau less the network's",
        papers.above(0.05),
        lead("addition", "test_refit_train", "test_accuracy", _PLATEAU),
    ),
    "learns-on-plateau": papers.Claim(
        "On the plateau the representation is learned gradually.",
        "abstract",
        "accuracy of a readout from all labels on the plateau less that at memorization",
        papers.above(0.05),
        papers.answer("readout", _growth, papers.CORRELATION, network="addition"),
    ),
    "not-absent": papers.Claim(
        "On the plateau the representation is better than a random one.",
        "abstract",
        "accuracy of a readout from all labels on the plateau less that of a random network",
        papers.above(0.05),
        papers.answer("readout", _above_random, papers.CORRELATION, network="addition"),
    ),
}
