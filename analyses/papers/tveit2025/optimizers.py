"""Muon against AdamW, on two tasks and with two kinds of softmax."""

from mechgrok.analyses import papers
from mechgrok.analyses.papers.tveit2025 import CONFIGURATIONS
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "The paper averages over seven tasks and three kinds of softmax, with a transformer with "
    "rotary positions and RMSNorm. Here one layer of width 64 with learned positions and RMSNorm "
    "learns a + b and a · b modulo 43 from half of the ordered pairs, in full batches, for at most "
    "3,000 steps. AdamW has a learning rate of 0.001 and a weight decay of 1. Muon has 0.02 for "
    "the matrices between hidden units, with a decay of 0.05, so that both optimizers shrink "
    "weights by the same share in each step, and AdamW for all other weights. Neither is tuned."
)
_OPTIMIZERS = {"adamw": "AdamW", "muon": "Muon"}


def plan(scale: papers.Scale) -> Plan:
    """Runs of each configuration with each optimizer."""
    names = [f"{name}-{optimizer}" for name in CONFIGURATIONS for optimizer in _OPTIMIZERS]
    return papers.join(scale.plan(name) for name in names)


def draw(sweep: Sweep) -> papers.Figures:
    """Accuracy over training with each optimizer, for each configuration."""
    return {
        name: papers.training_figure(
            sweep,
            {label: {"network": f"{name}-{key}"} for key, label in _OPTIMIZERS.items()},
            f"AdamW and Muon: {title}",
        )
        for name, (_, _, title) in CONFIGURATIONS.items()
    }


CLAIMS = {
    f"muon-earlier-{name}": papers.Claim(
        f"Muon generalizes earlier than AdamW: {title}.",
        "abstract and table of results",
        "t_gen with AdamW over t_gen with Muon",
        papers.EARLIER,
        papers.t_gen(network=f"{name}-adamw") / papers.t_gen(network=f"{name}-muon"),
        "mean over all configurations, in epochs: 153.09 / 102.89 = 1.5",
    )
    for name, (_, _, title) in CONFIGURATIONS.items()
}
