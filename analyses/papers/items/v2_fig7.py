"""Without weight decay a ticket of the right prune rate generalizes all the same."""

from collections.abc import Mapping

import plotly.graph_objects as go

from mechgrok.analyses.drawing import COLORS, SHARE, Panels
from mechgrok.analyses.papers import runs
from mechgrok.analyses.papers.claims import A_SHARE, Claim, Known, above, within
from mechgrok.analyses.papers.figures import accuracy_figure, by_setting, points
from mechgrok.analyses.papers.quantities import best_accuracy, chosen
from mechgrok.analyses.papers.scale import Scale
from mechgrok.sweeps import Plan, Sweep

ALSO = ("v3-fig17",)
SETTINGS = (
    "5,000 steps without weight decay; the base runs that the tickets are taken from have it."
)


def plan(scale: Scale) -> Plan:
    """Tickets at all prune rates, with weight decay and without."""
    return runs.runs(scale, "add", runs.rates(scale), runs.rates_without_decay(scale))


def draw(sweep: Sweep) -> dict[str, go.Figure]:
    """The best test accuracy over the prune rate, and accuracies over training without decay."""
    figure = Panels({}, title="Tickets with and without weight decay, over the prune rate")
    y = {"title": "best test accuracy", **SHARE}
    panel = figure.row(height=300, legend=True).panel("", x="prune rate k", y=y)
    for at, (stage, words) in enumerate((("rates", "weight decay 1"), ("no-decay", "none"))):
        values = by_setting(sweep.sel(stage=stage), "rate", best_accuracy())
        points(panel, values, COLORS[at], entry=words, hover="%{y:.1%}")
    some = {
        f"k = {rate:g}": chosen(sweep, stage="no-decay", rate=rate)
        for rate in (0.3, 0.6, 0.7, 0.81, 0.9)
    }
    title = "Accuracy of tickets without weight decay"
    return {"rates": figure.draw(), "accuracy": accuracy_figure(some, title)}


def _by_rate(sweep: Sweep) -> Mapping[float, Mapping[object, Known]]:
    return by_setting(sweep.sel(stage="no-decay"), "rate", best_accuracy())


def _best(sweep: Sweep) -> Mapping[object, Known]:
    """The best test accuracy of any rate."""
    found: dict[object, float] = {}
    for values in _by_rate(sweep).values():
        for seed, accuracy in values.items():
            found[seed] = max(found.get(seed, 0.0), accuracy.low)
    return {seed: Known.exactly(value) for seed, value in found.items()}


def _critical(sweep: Sweep) -> Mapping[object, Known]:
    """The largest rate that reaches 95 %; none where none does."""
    found: dict[object, Known] = {}
    for rate, values in _by_rate(sweep).items():
        for seed, accuracy in values.items():
            if accuracy.low >= 0.95:
                found[seed] = Known.exactly(float(rate))
    return found


CLAIMS = (
    Claim(
        "without-decay",
        "There is a prune rate at which a ticket generalizes without weight decay.",
        "v2, figure 7; v3, figure 17",
        "best test accuracy of any rate within 5,000 steps, weight decay 0",
        above(0.95),
        _best,
        possible=A_SHARE,
    ),
    Claim(
        "critical-rate",
        "The critical prune rate is 0.81.",
        "v2, figure 7; v3, figure 17",
        "the largest rate that reaches 95 % test accuracy within 5,000 steps, weight decay 0",
        within(0.8, 0.82),
        _critical,
        "0.81",
    ),
)
