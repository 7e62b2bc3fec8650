"""On images with a large initialization the late generalization is the readout's."""

import xarray as xr

from mechgrok.analyses import papers
from mechgrok.analyses.papers.chou2026.shared import at, lead
from mechgrok.analyses.papers.chou2026.shared import draw as draw_readout
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "The paper takes the published example of 1,000 images of MNIST with a large initialization; "
    "here 180 of scikit-learn's 8 × 8 digits with the same network (two layers of 200 ReLUs, MSE, "
    "initialization times 8), for 10,000 steps. Readouts are of the last hidden layer."
)


def plan(scale: papers.Scale) -> Plan:
    """Runs on images."""
    return scale.plan("images")


def draw(sweep: Sweep) -> papers.Figures:
    """Accuracy of the network and of refitted readouts."""
    return draw_readout(sweep, "images", "8 × 8 digits")


def _improvement(dataset: xr.Dataset) -> float:
    """The accuracy of a readout from training labels at the end less that at t_mem."""
    start = at("t_mem")(dataset)
    return (
        float("nan")
        if start is None
        else float(dataset.test_refit_train[-1] - start.test_refit_train)
    )


CLAIMS = {
    "readout-misaligned": papers.Claim(
        "When the network has memorized, its readout is misaligned: a new one does better.",
        "abstract",
        "test accuracy of a readout from training labels at t_mem less the network's",
        papers.above(0.05),
        lead("images", "test_refit_train", "test_accuracy", at("t_mem")),
    ),
    "representation-there": papers.Claim(
        "The representation at memorization suffices for the network's final accuracy.",
        "abstract",
        "test accuracy of a readout from training labels at t_mem",
        papers.above(0.8),
        papers.answer(
            "readout",
            lambda dataset: (
                float("nan")
                if (now := at("t_mem")(dataset)) is None
                else float(now.test_refit_train)
            ),
            papers.A_SHARE,
            network="images",
        ),
    ),
    "hardly-improves": papers.Claim(
        "While the network generalizes, its representation hardly improves.",
        "abstract, implied; added here after one seed was seen",
        "test accuracy of a readout from training labels at the end less that at t_mem",
        papers.below(0.05),
        papers.answer("readout", _improvement, papers.CORRELATION, network="images"),
    ),
}
