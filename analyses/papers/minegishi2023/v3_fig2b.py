"""Tickets generalize earlier on MNIST, sparse parity and polynomial regression too."""

from mechgrok.analyses import papers
from mechgrok.analyses.papers.minegishi2023 import shared
from mechgrok.sweeps import Plan, Sweep

ALSO = ("v3-fig2c", "v3-fig2d", "v3-fig2e", "v2-fig9")
SETTINGS = (
    "MNIST after Omnigrok: 1,000 images, MSE, initialization × 8, two hidden layers of 200, weight "
    "decay 0.01 (the paper says 4 layers). Each seed draws its 1,000 images from the training file "
    "and is tested on the whole test file: 60,000 and 10,000 images if MNIST is downloaded, those "
    "in the folder with --mnist. Polynomial regression in 20 dimensions; 40 in the authors' code. "
    "Its criterion is the test loss. For the transformer see v3-fig12."
)
NAMES = {"mnist": "MNIST", "parity": "sparse parity", "polynomial": "polynomial regression"}
_STEPS = {"mnist": 80_000, "parity": 6_000, "polynomial": 10_000}


def plan(scale: papers.Scale) -> Plan:
    """Base runs of each task, and their tickets."""
    return papers.join(
        scale.plan(network, scale.stage("ticket", "ticket", steps, rate=0.6))
        for network, steps in _STEPS.items()
    )


def draw(sweep: Sweep) -> papers.Figures:
    """Accuracy of base runs and tickets of each task; the losses of polynomial regression."""
    return {
        network: papers.training_figure(
            sweep,
            shared.of_network(network),
            f"Base runs and their tickets: {name}",
            ["loss" if network == "polynomial" else "accuracy"],
        )
        for network, name in NAMES.items()
    }


CLAIMS = shared.tickets_earlier(NAMES, "v3, figure 2; v2, figures 9 and 10")
