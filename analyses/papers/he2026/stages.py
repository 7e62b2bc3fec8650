"""Grokking has three stages: memorization, sparsification and a slow clean-up."""

import xarray as xr

from mechgrok.analyses import papers
from mechgrok.runs import Run
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "a + b modulo 23 with 60 % of the pairs for training and weight decay 2, for 3,000 steps, in "
    "a network of 256 ReLUs. The second stage ends at t_gen here, where test accuracy is 95 %. The "
    "network reads both numbers alike, so that it knows a test pair (a, b) as soon as it has "
    "memorized (b, a): the plateau is at 60 %."
)
VERSION = 2


def plan(scale: papers.Scale) -> Plan:
    """Networks that grok."""
    return scale.plan("grokking")


def draw(sweep: Sweep) -> papers.Figures:
    """Accuracy, loss and norm, and the spectra of neurons."""
    groups = {"a + b mod 23": {"network": "grokking"}}
    rows = ("accuracy", "loss", "L2 √Σw²")
    return {
        "training": papers.training_figure(
            sweep, groups, "Memorization, sparsification, clean-up", rows
        ),
        "entropy": papers.analysis_figure(sweep, groups, "entropy"),
    }


def _of_metric(name: str, first: str, then: str | None) -> papers.Quantity:
    """The ratio of a metric at one milestone (or at the end) to that at an earlier one."""

    def value(run: Run) -> float:
        start, end = (
            run.metrics.step.iloc[-1] if at is None else run.milestones.get(at)
            for at in (first, then)
        )
        if start is None or end is None:
            return float("nan")
        column = run.metrics.drop_duplicates("step").set_index("step")[name]
        return float(column[end] / column[start])

    return papers.of_run(value, network="grokking")


def _entropy_falls(dataset: xr.Dataset) -> float:
    """The input entropy at the end less that at the first checkpoint from t_gen on."""
    if "t_gen" not in dataset.attrs:
        return float("nan")
    late = dataset.input_entropy[dataset.step >= dataset.attrs["t_gen"]]
    return float(late[-1] - late[0])


def _falls_before(dataset: xr.Dataset) -> float:
    """The input entropy at the last checkpoint before t_gen less that at the first from t_mem."""
    if "t_gen" not in dataset.attrs or "t_mem" not in dataset.attrs:
        return float("nan")
    at = (dataset.step >= dataset.attrs["t_mem"]) & (dataset.step <= dataset.attrs["t_gen"])
    between = dataset.input_entropy[at]
    return float(between[-1] - between[0]) if between.size > 1 else float("nan")


CLAIMS = {
    "memorizes-first": papers.Claim(
        "The network memorizes first.",
        "section on grokking",
        "τ = t_gen / t_mem",
        papers.above(2, "log"),
        papers.tau(network="grokking"),
    ),
    "sparsifies": papers.Claim(
        "Then, until it generalizes, the neurons' spectra become sparse.",
        "section on grokking",
        "change of the neurons' spectral entropy from t_mem to t_gen, in nats",
        papers.below(0),
        papers.answer("entropy", _falls_before, network="grokking"),
    ),
    "cleans-up": papers.Claim(
        "After generalization a slow clean-up continues to make them sparser.",
        "section on grokking",
        "change of the neurons' spectral entropy from t_gen to the end, in nats",
        papers.below(0),
        papers.answer("entropy", _entropy_falls, network="grokking"),
    ),
    "loss-falls": papers.Claim(
        "In the clean-up the test loss goes on falling.",
        "section on grokking",
        "test loss at the end over test loss at t_gen",
        papers.below(1, "log"),
        _of_metric("test_loss", "t_gen", None),
    ),
    "norm-falls": papers.Claim(
        "Generalization is the work of weight decay: the norm falls from memorization on.",
        "a consequence of the mechanism as we read it, not a claim of the text",
        "√Σw² at t_gen over that at t_mem",
        papers.below(1, "log"),
        _of_metric("l2", "t_mem", "t_gen"),
    ),
}
