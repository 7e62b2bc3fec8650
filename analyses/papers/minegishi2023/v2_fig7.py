"""A ticket of the right prune rate generalizes even without weight decay."""

from mechgrok.analyses import papers
from mechgrok.analyses.papers.minegishi2023 import shared
from mechgrok.sweeps import Plan, Sweep

ALSO = ("v3-fig17",)
SETTINGS = "5,000 steps without weight decay; the tickets' base runs have weight decay."


def plan(scale: papers.Scale) -> Plan:
    """Tickets at all prune rates, with weight decay and without."""
    rates = scale.choose(shared.RATES, "0.3,0.6,0.7,0.8,0.81,0.9")
    without = scale.stage("ticket", "no-decay", 5000, rate=rates, weight_decay=0)
    return scale.plan("add", shared.tickets_at_rates(scale), without)


def draw(sweep: Sweep) -> papers.Figures:
    """The best test accuracy over the prune rate, and accuracies over training without decay."""
    accuracies = {
        "weight decay 1": papers.best_accuracy(stage="rates"),
        "no weight decay": _ACCURACY,
    }
    over_rate = {"best test accuracy": accuracies}
    rates = (0.3, 0.6, 0.7, 0.81, 0.9)
    groups = {f"k = {rate:g}": {"stage": "no-decay", "rate": rate} for rate in rates}
    title = "Tickets with and without weight decay, over the prune rate"
    return {
        "rates": papers.setting_figure(sweep, title, "rate", "prune rate k", over_rate),
        "accuracy": papers.training_figure(
            sweep, groups, "Accuracy of tickets without weight decay"
        ),
    }


_ACCURACY = papers.best_accuracy(stage="no-decay")


def _highest(by_rate: dict[float, papers.Bounds]) -> float:
    return max(accuracy.low for accuracy in by_rate.values())


def _critical_rate(by_rate: dict[float, papers.Bounds]) -> float | None:
    """The largest rate that reaches 95 %; None if none does."""
    return max((rate for rate, accuracy in by_rate.items() if accuracy.low >= 0.95), default=None)


CLAIMS = {
    "without-decay": papers.Claim(
        "There is a prune rate at which a ticket generalizes without weight decay.",
        "v2, figure 7; v3, figure 17",
        "best test accuracy of any rate within 5,000 steps, weight decay 0",
        papers.above(0.95),
        papers.over_setting("rate", _ACCURACY, _highest, papers.A_SHARE),
    ),
    "critical-rate": papers.Claim(
        "The critical prune rate is 0.81.",
        "v2, figure 7; v3, figure 17",
        "the largest rate that reaches 95 % test accuracy within 5,000 steps, weight decay 0",
        papers.within(0.8, 0.82),
        papers.over_setting("rate", _ACCURACY, _critical_rate),
        "0.81",
    ),
}
