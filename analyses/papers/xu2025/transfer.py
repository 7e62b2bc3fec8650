"""A network that starts from the embedding of a weaker one generalizes without delay."""

from typing import Any

from mechgrok.analyses import papers
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "The paper's set-up on addition, smaller: an MLP adds modulo 43, with half of the pairs for "
    "training. The weak network has an embedding of width 16 and 32 neurons, and trains for 1,500 "
    "steps. The target has width 128 and 48 neurons, and starts from W_E = A B, with A the weak "
    "network's embedding and B drawn. The paper trains both factors; here the network trains their "
    "product. The weak network's steps are not counted."
)
_TRANSFER: dict[str, Any] = {"network": "weak", "stage": "transfer"}
_SCRATCH: dict[str, Any] = {"network": "scratch"}
_WEAK: dict[str, Any] = {"network": "weak", "stage": "base"}


def plan(scale: papers.Scale) -> Plan:
    """Weak networks with their targets, and networks trained from scratch."""
    target: dict[str, Any] = {
        "d_model": 128,
        "d_mlp": 48,
        "start": "low-rank:parent",
        "until_grokked": 0,
    }
    stage = scale.stage("retrain", "transfer", 6_000, **target)
    return papers.join([scale.plan("weak", stage), scale.plan("scratch")])


def draw(sweep: Sweep) -> papers.Figures:
    """Accuracy over training, of weak networks, targets and networks from scratch."""
    groups = {"weak": _WEAK, "target": _TRANSFER, "from scratch": _SCRATCH}
    title = "An embedding taken from a weaker network"
    return {"accuracy": papers.training_figure(sweep, groups, title)}


CLAIMS = {
    "weak": papers.Claim(
        "The weak network alone does not generalize well.",
        "abstract",
        "best test accuracy of the weak network",
        papers.below(0.95),
        papers.best_accuracy(**_WEAK),
    ),
    "earlier": papers.Claim(
        "With its embedding the target generalizes earlier than from scratch.",
        "abstract",
        "t_gen from scratch over t_gen of the target",
        papers.EARLIER,
        papers.t_gen(**_SCRATCH) / papers.t_gen(**_TRANSFER),
    ),
    "no-delay": papers.Claim(
        "The target generalizes without delay.",
        "abstract",
        "τ = t_gen / t_mem of the target",
        papers.below(2, "log"),
        papers.tau(**_TRANSFER),
    ),
    "smaller-delay": papers.Claim(
        "The target's delay is smaller than that from scratch.",
        "abstract",
        "τ from scratch over τ of the target",
        papers.EARLIER,
        papers.tau(**_SCRATCH) / papers.tau(**_TRANSFER),
    ),
}
