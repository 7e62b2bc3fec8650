"""On images the filter accelerates too."""

from mechgrok.analyses import papers
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "The paper trains on 1,000 images of MNIST; here 180 of scikit-learn's 8 × 8 digits, with the "
    "same network (two layers of 200 neurons, MSE, 8 times the standard initialization), for at "
    "most 6,000 steps; the criterion is 90 % test accuracy. In the authors' commands the run with "
    "a filter (EMA, α = 0.8, λ = 0.1) has weight decay 2, and the baseline 0.01. A third kind of "
    "runs here has decay 2 without the filter."
)
#: The kinds of runs, by their names in the figure.
KINDS = {
    "digits-none": "decay 0.01",
    "digits-ema": "EMA, decay 2",
    "digits-decay": "decay 2",
}


def plan(scale: papers.Scale) -> Plan:
    """Runs of each kind."""
    return papers.join(scale.plan(kind) for kind in KINDS)


def draw(sweep: Sweep) -> papers.Figures:
    """Accuracy over training."""
    groups = {name: {"network": kind} for kind, name in KINDS.items()}
    return {"accuracy": papers.training_figure(sweep, groups, "Digits, with and without Grokfast")}


CLAIMS = {
    "ema-earlier": papers.Claim(
        "Grokfast-EMA makes a network on images generalize earlier.",
        "the authors' commands and table for MNIST",
        "t_gen with decay 0.01 over t_gen with the filter and decay 2",
        papers.EARLIER,
        papers.t_gen(network="digits-none") / papers.t_gen(network="digits-ema"),
        "44,022 / 2,001 = 22",
    ),
    "ema-at-equal-decay": papers.Claim(
        "Grokfast-EMA makes it earlier at equal weight decay, too.",
        "our comparison; the authors' baseline has a 200th of the decay",
        "t_gen with decay 2 alone over t_gen with the filter and decay 2",
        papers.EARLIER,
        papers.t_gen(network="digits-decay") / papers.t_gen(network="digits-ema"),
    ),
}
