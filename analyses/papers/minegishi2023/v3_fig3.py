"""The delay τ over the prune rate: smallest between 0.5 and 0.7; at 0.9 capacity is too small."""

import math

from mechgrok.analyses import papers
from mechgrok.analyses.papers.minegishi2023 import shared
from mechgrok.sweeps import Plan, Sweep

ALSO = ("v3-fig4b", "v2-fig12b")
SETTINGS = "Tickets are trained for at most 10,000 steps; the paper does not give the number."


def plan(scale: papers.Scale) -> Plan:
    """Base runs and their tickets at all prune rates."""
    return scale.plan("add", shared.tickets_at_rates(scale))


def draw(sweep: Sweep) -> papers.Figures:
    """t_mem, t_gen, τ and the best test accuracy over the prune rate; accuracies over training."""
    over_rate = {
        "training step": {
            "t_mem": papers.t_mem(stage="rates"),
            "t_gen": papers.t_gen(stage="rates"),
        },
        "τ = t_gen / t_mem": {"": papers.tau(stage="rates")},
        "best test accuracy": {"": papers.best_accuracy(stage="rates")},
    }
    title = "When tickets memorize and generalize, over the prune rate"
    rates = (0.3, 0.5, 0.7, 0.8, 0.9)
    groups = shared.BASE | {f"k = {rate:g}": {"stage": "rates", "rate": rate} for rate in rates}
    return {
        "rates": papers.setting_figure(sweep, title, "rate", "prune rate k", over_rate),
        "accuracy": papers.training_figure(
            sweep, groups, "Accuracy of tickets at several prune rates"
        ),
    }


def _best_rate(by_rate: dict[float, papers.Bounds]) -> float | None:
    """The prune rate, of 0.1 to 0.9, with the smallest τ."""
    taus = [
        (tau.high, rate)
        for rate, tau in by_rate.items()
        if math.isclose(rate, round(rate, 1)) and math.isfinite(tau.high)
    ]
    return min(taus)[1] if taus else None


CLAIMS = {
    "best-rate": papers.Claim(
        "The delay is smallest at a prune rate between 0.5 and 0.7.",
        "v3, figures 3 and 4b",
        "the rate k of 0.1 … 0.9 with the smallest τ",
        papers.within(0.5, 0.7),
        papers.over_setting("rate", papers.tau(stage="rates"), _best_rate),
        "0.7",
    ),
    "no-capacity": papers.Claim(
        "At k = 0.9 the remaining capacity is too small to generalize.",
        "v3, figure 3",
        "best test accuracy at k = 0.9 within 10,000 steps",
        papers.below(0.95),
        papers.best_accuracy(stage="rates", rate=0.9),
    ),
}
