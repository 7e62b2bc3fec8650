"""Without weight decay the softmax collapses, and learning stops before generalization."""

import xarray as xr

from mechgrok.analyses import papers
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "The paper trains MLPs and transformers on modular addition and other tasks; here an MLP adds "
    "modulo 43, with 70 % of the pairs for training and AdamW with learning rate 0.01, at which "
    "the softmax collapses within 3,000 steps. Losses in float32 and float64 are those of a plain "
    "log-softmax (the usual loss here is exact for any logits, and does not collapse). The network "
    "reads both numbers alike, so that it knows a test pair (a, b) if it has memorized (b, a): "
    "about 70 % of them."
)


def plan(scale: papers.Scale) -> Plan:
    """Runs without weight decay, with the softmax in float32 and in float64."""
    return papers.join([scale.plan("float32"), scale.plan("float64")])


def draw(sweep: Sweep) -> papers.Figures:
    """Accuracy over training, and collapse, margins and gradients."""
    groups = {f"softmax in {name}": {"network": name} for name in ("float32", "float64")}
    title = "Without weight decay, by the precision of the softmax"
    return {
        "accuracy": papers.training_figure(sweep, groups, title, ("accuracy", "loss")),
        "stability": papers.analysis_figure(sweep, groups, "stability"),
    }


def _collapsed(dataset: xr.Dataset) -> float:
    """The share of training examples without a gradient at the last checkpoint."""
    return float(dataset.collapsed.sel(precision="float32").isel(step=-1))


def _largest_alignment(dataset: xr.Dataset) -> float:
    """The largest cos(−∇L, θ) at any checkpoint."""
    return float(dataset.along_weights.sel(side="train").max())


CLAIMS = {
    "memorizes": papers.Claim(
        "Without weight decay the network memorizes.",
        "section 3",
        "t_mem",
        papers.below(1_000, "log"),
        papers.t_mem(network="float32"),
    ),
    "does-not-generalize": papers.Claim(
        "Without weight decay it does not generalize.",
        "section 3",
        "best test accuracy",
        papers.below(0.95),
        papers.best_accuracy(network="float32"),
    ),
    "collapses": papers.Claim(
        "Meanwhile the softmax collapses: most training examples have no gradient any more.",
        "section 3",
        "share of training examples whose loss is exactly 0 in float32, at the end",
        papers.above(0.5),
        papers.answer("stability", _collapsed, papers.A_SHARE, network="float32"),
    ),
    "along-weights": papers.Claim(
        "After memorization the gradient points along the weights.",
        "section 4",
        "largest cos(−∇L, θ) at any checkpoint, softmax in float64",
        papers.above(0.8),
        papers.answer("stability", _largest_alignment, papers.CORRELATION, network="float64"),
    ),
}
