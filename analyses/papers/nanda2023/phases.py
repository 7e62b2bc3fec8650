"""Memorization, circuit formation and clean-up: restricted and excluded loss, and the norm."""

import numpy as np
import xarray as xr
from scipy.stats import spearmanr

from mechgrok.analyses import papers
from mechgrok.measuring import analyze
from mechgrok.runs import Run
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "The paper trains a transformer of width 128 with 512 neurons on 30 % of the pairs modulo 113; "
    "here width 64 and 128 neurons on 60 % of the pairs modulo 43, for 3,000 steps, with the same "
    "weight decay (1), learning rate and optimizer. The paper reads the phases from its curves. "
    "Here circuit formation is from t_mem to the first checkpoint at which the logits restricted "
    "to the key frequencies answer 95 % of all pairs, and clean-up from there to the first at "
    "which all logits answer 95 % of the test pairs."
)


def plan(scale: papers.Scale) -> Plan:
    """The transformers."""
    return scale.plan("add")


def draw(sweep: Sweep) -> papers.Figures:
    """Accuracy, and the progress measures of a run."""
    groups = {"transformer": {"network": "add"}}
    title = "A small transformer on modular addition"
    rows = ("accuracy", "loss", "L2 √Σw²")
    return {
        "accuracy": papers.training_figure(sweep, groups, title, rows),
        "progress": papers.analysis_figure(sweep, groups, "progress"),
    }


def _first(dataset: xr.Dataset, curve: str, level: float = 0.95) -> float:
    """The first step at which a curve reaches a level; NaN if it never does."""
    reached = np.flatnonzero(dataset[curve].to_numpy() >= level)
    return float(dataset.step[reached[0]]) if len(reached) else float("nan")


def _lead(dataset: xr.Dataset) -> float:
    """Steps until all logits answer, over steps until the restricted ones do."""
    return _first(dataset, "test_accuracy") / _first(dataset, "restricted_accuracy")


def _half_way(dataset: xr.Dataset, curve: str) -> float:
    """The first step after the maximum of a loss at which half of its fall, in log, is done."""
    loss = np.log(dataset[curve].to_numpy())
    highest = int(loss.argmax())
    level = (loss[highest] + loss[highest:].min()) / 2
    return float(dataset.step[highest + np.flatnonzero(loss[highest:] <= level)[0]])


def _half_way_lead(dataset: xr.Dataset) -> float:
    """The step half way down of test loss, over that of restricted loss."""
    return _half_way(dataset, "test_loss") / _half_way(dataset, "restricted_loss")


def _excluded_rise(run: Run) -> float:
    """The rank correlation of excluded loss with the step, between t_mem and t_gen."""
    dataset = analyze(run, "progress")
    during = dataset.sel(step=slice(run.t_mem, _first(dataset, "test_accuracy")))
    if len(during.step) < 3:
        return float("nan")
    return float(spearmanr(during.step, during.excluded_loss).statistic)


def _late_fall(run: Run) -> float:
    """The fall of Σw² per 1,000 steps, as a share of it: in clean-up less in circuit formation."""
    dataset = analyze(run, "progress")
    start = run.t_mem or 0
    middle, end = _first(dataset, "restricted_accuracy"), _first(dataset, "test_accuracy")
    if not start < middle < end:
        return float("nan")

    def fall(first: float, last: float) -> float:
        curve = np.log(dataset.squared_weights)
        at = [curve.sel(step=step, method="nearest") for step in (first, last)]
        return float(at[0] - at[1]) * 1_000 / (last - first)

    return fall(middle, end) - fall(start, middle)


CLAIMS = {
    "circuit-first": papers.Claim(
        "The circuit would generalize before the network does.",
        "section 5, progress measures",
        "first step with 95 % of the test pairs right, over that with the restricted logits",
        papers.EARLIER,
        papers.answer("progress", _lead),
    ),
    "restricted-falls-first": papers.Claim(
        "Restricted loss falls before test loss does.",
        "section 5, progress measures",
        "the step half way down (in log) of test loss, over that of restricted loss",
        papers.EARLIER,
        papers.answer("progress", _half_way_lead),
    ),
    "excluded-rises": papers.Claim(
        "Excluded loss rises while the circuit forms.",
        "section 5, progress measures",
        "rank correlation of excluded loss with the step between t_mem and t_gen",
        papers.above(0),
        papers.of_run(_excluded_rise, papers.CORRELATION),
    ),
    "norm-falls-last": papers.Claim(
        "The sum of squared weights falls fastest in clean-up.",
        "section 5, progress measures",
        "relative fall of Σw² per 1,000 steps, in clean-up less that in circuit formation",
        papers.above(0),
        papers.of_run(_late_fall),
    ),
}
