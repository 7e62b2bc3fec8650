"""The delay τ over the prune rate: smallest between 0.5 and 0.7; at 0.9 capacity is gone."""

import math
from collections.abc import Mapping

import plotly.graph_objects as go

from mechgrok.analyses.drawing import COLORS, SHARE, Panels
from mechgrok.analyses.papers import runs
from mechgrok.analyses.papers.claims import A_SHARE, Claim, Known, below, within
from mechgrok.analyses.papers.figures import accuracy_figure, by_setting, points
from mechgrok.analyses.papers.quantities import best_accuracy, chosen, t_gen, t_mem, tau
from mechgrok.analyses.papers.scale import Scale
from mechgrok.sweeps import Plan, Sweep

ALSO = ("v3-fig4b", "v2-fig12b")
SETTINGS = "Tickets are trained for 10,000 steps at most; the paper does not say for how many."


def plan(scale: Scale) -> Plan:
    """Base runs and their tickets at all prune rates."""
    return runs.runs(scale, "add", runs.rates(scale))


def draw(sweep: Sweep) -> dict[str, go.Figure]:
    """t_mem, t_gen, τ and the best test accuracy over the prune rate; accuracies over training."""
    tickets = sweep.sel(stage="rates")
    figure = Panels({}, title="When tickets memorize and generalize, over the prune rate")
    x = {"title": "prune rate k"}
    row = figure.row(height=280, legend=True)
    panel = row.panel("training step", x=x, y={"title": "step", "type": "log"})
    for at, (mark, quantity) in enumerate((("t_mem", t_mem()), ("t_gen", t_gen()))):
        points(panel, by_setting(tickets, "rate", quantity), COLORS[at], entry=mark)
    panel = row.panel("the delay", x=x, y={"title": "τ = t_gen / t_mem", "type": "log"})
    points(panel, by_setting(tickets, "rate", tau()), COLORS[2])
    panel = row.panel("capacity", x=x, y={"title": "best test accuracy", **SHARE})
    points(panel, by_setting(tickets, "rate", best_accuracy()), COLORS[3], hover="%{y:.1%}")
    some: dict[str, Sweep | None] = {"base run": chosen(sweep, stage="base")}
    for rate in (0.3, 0.5, 0.7, 0.8, 0.9):
        some[f"k = {rate:g}"] = chosen(sweep, stage="rates", rate=rate)
    title = "Accuracy of tickets at several prune rates"
    return {"rates": figure.draw(), "accuracy": accuracy_figure(some, title)}


def _best_rate(sweep: Sweep) -> Mapping[object, Known]:
    """The prune rate, of .1 to .9, with the smallest τ."""
    found: dict[object, tuple[float, float]] = {}
    for rate, delays in by_setting(sweep.sel(stage="rates"), "rate", tau()).items():
        if abs(rate * 10 - round(rate * 10)) > 1e-9:
            continue
        for seed, delay in delays.items():
            if math.isfinite(delay.high):
                found[seed] = min(found.get(seed, (math.inf, 0.0)), (delay.high, float(rate)))
    return {seed: Known.exactly(rate) for seed, (_, rate) in found.items()}


CLAIMS = (
    Claim(
        "best-rate",
        "The delay is smallest at a prune rate between 0.5 and 0.7.",
        "v3, figures 3 and 4b",
        "the rate k of 0.1 … 0.9 with the smallest τ",
        within(0.5, 0.7),
        _best_rate,
        "0.7",
    ),
    Claim(
        "no-capacity",
        "At k = 0.9 too little capacity is left to generalize.",
        "v3, figure 3",
        "best test accuracy at k = 0.9 within 10,000 steps",
        below(0.95),
        best_accuracy(stage="rates", rate=0.9),
        possible=A_SHARE,
    ),
)
