"""A grokked ticket generalizes soon after memorizing; tickets drawn before t_gen do not."""

from mechgrok.analyses import papers
from mechgrok.analyses.papers.minegishi2023 import shared
from mechgrok.sweeps import Plan, Sweep

ALSO = ("v2-fig1", "v3-fig4a", "v2-fig12")
SETTINGS = (
    "Version 2 reports all 4,489 ordered pairs; version 3 and the authors' code use the 2,278 "
    "unordered pairs, as here. Tickets drawn during training are trained for at most 6,000 steps."
)


def plan(scale: papers.Scale) -> Plan:
    """Base runs, their tickets at the end, and tickets taken every 2,000 steps."""
    at = scale.choose("2000:20000:2000", "200:800:200")
    taken = scale.stage("ticket", "over-training", 6000, at=at, rate=0.6, until_grokked=600)
    return scale.plan("add", shared.ticket(scale), taken)


def draw(sweep: Sweep) -> papers.Figures:
    """Accuracies over training, and the tickets over the step at which they were taken."""
    title = "Test accuracy of base runs and of their tickets"
    return {
        "accuracy": papers.training_figure(sweep, shared.PAIR, title),
        "over-training": papers.setting_figure(
            sweep,
            "Tickets taken along the training of the base run",
            "at",
            "step at which the ticket was taken",
            {
                "best test accuracy": {"": papers.best_accuracy(stage="over-training")},
                "t_gen": {"": papers.t_gen(stage="over-training")},
            },
        ),
    }


def _taken(*, before: bool) -> papers.Quantity:
    """The best of the tickets taken before half of t_gen, or the worst of those from t_gen on."""

    def values(sweep: Sweep) -> papers.BySeed:
        t_gen_of = papers.t_gen(stage="base")(sweep)
        accuracies: dict[object, list[float]] = {}
        for seed, row in papers.rows(sweep, stage="over-training"):
            low, high = t_gen_of.get(seed, (0, float("inf")))
            if row["at"] <= low / 2 if before else row["at"] >= high:
                accuracies.setdefault(seed, []).append(row["best_test_accuracy"])
        pick = max if before else min
        return {seed: papers.Bounds.exactly(pick(best)) for seed, best in accuracies.items()}

    return papers.Quantity(values, papers.A_SHARE)


CLAIMS = {
    "ticket-earlier": papers.Claim(
        "The grokked ticket generalizes earlier than the dense network it was taken from.",
        "v3, figure 2a; v2, figure 1",
        "t_gen of the base run over that of its ticket (95 %)",
        papers.EARLIER,
        papers.t_gen(stage="base") / papers.t_gen(stage="ticket"),
        "v2, table 1, at 90 %: 21,497 / 566 = 38",
    ),
    "no-delay": papers.Claim(
        "With the ticket, generalization follows memorization closely: τ = t_gen / t_mem is small.",
        "v3, figure 4",
        "τ of the ticket",
        papers.below(10, "log"),
        papers.tau(stage="ticket"),
    ),
    "early-tickets-fail": papers.Claim(
        "Tickets taken before the network generalizes do not fully generalize.",
        "v3, figure 4a; v2, figure 12",
        "best test accuracy of any ticket taken before half of t_gen, within 6,000 steps",
        papers.below(0.95),
        _taken(before=True),
    ),
    "late-tickets-work": papers.Claim(
        "Tickets taken after it generalizes do.",
        "v3, figure 4a; v2, figure 12",
        "worst of the best test accuracies of tickets taken from t_gen on, within 6,000 steps",
        papers.above(0.95),
        _taken(before=False),
    ),
}
