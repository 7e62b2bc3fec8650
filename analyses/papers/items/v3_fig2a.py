"""A grokked ticket generalizes almost as it memorizes; tickets taken before t_gen do not."""

from collections.abc import Mapping

import plotly.graph_objects as go

from mechgrok.analyses.drawing import COLORS, SHARE, Panels
from mechgrok.analyses.papers import runs
from mechgrok.analyses.papers.claims import A_SHARE, EARLIER, Claim, Known, above, below
from mechgrok.analyses.papers.figures import accuracy_figure, by_setting, points
from mechgrok.analyses.papers.quantities import (
    best_accuracy,
    chosen,
    milestone,
    over,
    rows,
    t_gen,
    tau,
)
from mechgrok.analyses.papers.scale import Scale
from mechgrok.sweeps import Plan, Sweep

ALSO = ("v2-fig1", "v3-fig4a", "v2-fig12")
SETTINGS = (
    "Version 2 says that all 4,489 ordered pairs are used; version 3 and the authors' code take "
    "the 2,278 unordered ones, as is done here. Tickets taken along the training are trained for "
    "6,000 steps at most."
)


def plan(scale: Scale) -> Plan:
    """Base runs, their tickets at the end, and tickets taken every 2,000 steps."""
    return runs.runs(scale, "add", runs.ticket(scale), runs.over_training(scale))


def draw(sweep: Sweep) -> dict[str, go.Figure]:
    """Accuracies over training, and the tickets over the step at which they were taken."""
    groups = {
        "base run": chosen(sweep, stage="base"),
        "grokked ticket": chosen(sweep, stage="ticket"),
    }
    return {
        "accuracy": accuracy_figure(groups, "Test accuracy of base runs and of their tickets"),
        "over-training": _over_training(sweep),
    }


def _over_training(sweep: Sweep) -> go.Figure:
    taken = sweep.sel(stage="over-training")
    figure = Panels({}, title="Tickets taken along the training of the base run")
    x = {"title": "step at which the ticket was taken"}
    row = figure.row(height=280)
    panel = row.panel("best test accuracy", x=x, y={"title": "test accuracy", **SHARE})
    points(panel, by_setting(taken, "at", best_accuracy()), COLORS[0], hover="%{y:.1%}")
    panel = row.panel("when it generalizes", x=x, y={"title": "t_gen", "type": "log"})
    points(panel, by_setting(taken, "at", t_gen()), COLORS[1])
    return figure.draw()


def _taken(sweep: Sweep, *, before: bool) -> dict[object, Known]:
    """The best of the tickets taken before half of t_gen, or the worst of those from t_gen on."""
    delay = {seed: milestone(row, "t_gen") for seed, row in rows(sweep, stage="base")}
    found: dict[object, list[float]] = {}
    for seed, row in rows(sweep, stage="over-training"):
        when = delay.get(seed)
        if when is not None and (row["at"] <= when.low / 2 if before else row["at"] >= when.high):
            found.setdefault(seed, []).append(float(row["best_test_accuracy"]))
    pick = max if before else min
    return {seed: Known.exactly(pick(values)) for seed, values in found.items()}


def _early(sweep: Sweep) -> Mapping[object, Known]:
    return _taken(sweep, before=True)


def _late(sweep: Sweep) -> Mapping[object, Known]:
    return _taken(sweep, before=False)


CLAIMS = (
    Claim(
        "ticket-earlier",
        "The grokked ticket generalizes earlier than the dense network it was taken from.",
        "v3, figure 2a; v2, figure 1",
        "t_gen of the base run over that of its ticket (95 %)",
        EARLIER,
        over(t_gen(stage="base"), t_gen(stage="ticket")),
        "v2, table 1, at 90 %: 21,497 / 566 = 38",
    ),
    Claim(
        "no-delay",
        "With the ticket, generalization follows memorization closely: τ = t_gen / t_mem is small.",
        "v3, figure 4",
        "τ of the ticket",
        below(10, "log"),
        tau(stage="ticket"),
    ),
    Claim(
        "early-tickets-fail",
        "Tickets taken before the network generalizes do not fully generalize.",
        "v3, figure 4a; v2, figure 12",
        "best test accuracy of any ticket taken before half of t_gen, within 6,000 steps",
        below(0.95),
        _early,
        possible=A_SHARE,
    ),
    Claim(
        "late-tickets-work",
        "Tickets taken after it generalizes do.",
        "v3, figure 4a; v2, figure 12",
        "worst of the best test accuracies of tickets taken from t_gen on, within 6,000 steps",
        above(0.95),
        _late,
        possible=A_SHARE,
    ),
)
