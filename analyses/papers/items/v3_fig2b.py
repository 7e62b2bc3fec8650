"""Tickets generalize earlier on MNIST, sparse parity and polynomial regression too."""

import plotly.graph_objects as go

from mechgrok.analyses.drawing import Panels
from mechgrok.analyses.papers import runs
from mechgrok.analyses.papers.figures import grouped, medians
from mechgrok.analyses.papers.items.v3_fig10 import pair_figure, ticket_earlier
from mechgrok.analyses.papers.quantities import of_plan
from mechgrok.analyses.papers.scale import Scale
from mechgrok.sweeps import Plan, Sweep

ALSO = ("v3-fig2c", "v3-fig2d", "v3-fig2e", "v2-fig9")
SETTINGS = (
    "MNIST after Omnigrok: 1,000 images, MSE, initialization × 8, two hidden layers of 200, weight "
    "decay 0.01 (the paper says 4 layers). Polynomial regression in 20 dimensions; 40 in the "
    "authors' code. It is judged by its test loss. The transformer is v3-fig12."
)
NAMES = {"mnist": "MNIST", "parity": "sparse parity", "polynomial": "polynomial regression"}
_STEPS = {"mnist": 80_000, "parity": 6_000, "polynomial": 10_000}


def plan(scale: Scale) -> Plan:
    """Base runs of each task, and their tickets."""
    return runs.together(
        *(
            runs.runs(scale, name, runs.stage(scale, "ticket", _STEPS[name], rate=0.6))
            for name in NAMES
        )
    )


def draw(sweep: Sweep) -> dict[str, go.Figure]:
    """Accuracy of base runs and tickets of each task; the losses of polynomial regression."""
    return {
        "mnist": pair_figure(sweep, "mnist", NAMES["mnist"]),
        "parity": pair_figure(sweep, "parity", NAMES["parity"]),
        "polynomial": _losses(sweep),
    }


def _losses(sweep: Sweep) -> go.Figure:
    groups = {
        "base run": of_plan(sweep, "polynomial", stage="base"),
        "grokked ticket": of_plan(sweep, "polynomial", stage="ticket"),
    }
    figure = Panels(
        grouped(groups),
        title="Base runs and their tickets: polynomial regression",
        subtitle=medians(groups),
        log=True,
    )
    panel = figure.row(height=280).over_training(y={"title": "loss", "type": "log"})
    for label, dataset in figure.measured.items():
        for side, dash, width in (("train", "dash", 1.2), ("test", "solid", 2)):
            curve = dataset[f"{side}_loss"]
            panel.lines(dataset.step, curve, run=label, key=side, dash=dash, width=width)
    return figure.draw()


CLAIMS = tuple(
    ticket_earlier(name, words, "v3, figure 2; v2, figures 9 and 10")
    for name, words in NAMES.items()
)
