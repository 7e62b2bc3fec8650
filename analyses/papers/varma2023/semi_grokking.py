"""Near the critical number of pairs, generalization comes late and stays partial."""

import numpy as np

from mechgrok.analyses import papers
from mechgrok.runs import Run
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "The paper trains one-layer transformers on a + b mod 113, and sees partial generalization in "
    "some seeds near the critical number; here an MLP adds modulo 43, from scratch, on 15 to 40 % "
    "of the ordered pairs, with weight decay 2, for at most 10,000 steps. Generalization counts as "
    "partial if the final test accuracy is between 10 and 90 %, at least 5 points above that at "
    "t_mem, and has changed by less than 5 points over the last quarter of the run."
)
#: Shares of the pairs for training.
SHARES = (0.15, 0.2, 0.25, 0.3, 0.4)


def plan(scale: papers.Scale) -> Plan:
    """Runs with each share."""
    return scale.plan("near", over={"train_fraction": ",".join(map(str, SHARES))})


def _share(share: float, quantity: papers.Quantity) -> papers.Quantity:
    """The quantity of the runs with this share."""

    def values(sweep: Sweep) -> papers.BySeed:
        runs = papers.select(sweep, train_fraction=share)
        return quantity(runs) if runs else {}

    return papers.Quantity(values, quantity.possible)


_FINAL = papers.metric_at(-1, possible=papers.A_SHARE)


def draw(sweep: Sweep) -> papers.Figures:
    """Final test accuracy over the share, and test accuracy over training."""
    panels = {"final test accuracy": {"": _FINAL}}
    title = "Test accuracy after training from scratch, over the share of pairs"
    x = {"title": "share of pairs for training", "tickformat": ".0%"}
    groups = {f"{share:.0%} of the pairs": {"train_fraction": share} for share in SHARES}
    return {
        "shares": papers.setting_figure(sweep, title, "train_fraction", x, panels),
        "accuracy": papers.training_figure(sweep, groups, "Accuracy near the critical number"),
    }


def _is_partial(run: Run) -> bool:
    """Whether generalization came late and stayed partial; see `SETTINGS`."""
    metrics = run.metrics
    steps, test = metrics["step"].to_numpy(), metrics["test_accuracy"].to_numpy()
    if run.t_mem is None:
        return False
    early, late = test[np.searchsorted(steps, run.t_mem)], test[steps >= 0.75 * steps[-1]]
    final = test[-1]
    return bool(0.1 < final < 0.9 and final > early + 0.05 and np.ptp(late) < 0.05)


def _n_partial(sweep: Sweep) -> papers.BySeed:
    """The number of shares with partial generalization."""
    n: dict[object, int] = {}
    for share in SHARES:
        for seed, run in papers.first_runs(sweep, train_fraction=share).items():
            n[seed] = n.get(seed, 0) + _is_partial(run)
    return {seed: papers.Bounds.exactly(number) for seed, number in n.items()}


CLAIMS = {
    "partial": papers.Claim(
        "Near the critical number of pairs, test accuracy rises late and stays partial.",
        "section on semi-grokking",
        "number of five shares of pairs with partial generalization",
        papers.above(0),
        papers.Quantity(_n_partial),
    ),
    "below": papers.Claim(
        "Below the critical number the network only memorizes.",
        "section on semi-grokking",
        "final test accuracy with 15 % of the pairs",
        papers.below(0.1),
        _share(0.15, _FINAL),
    ),
    "above": papers.Claim(
        "Above the critical number the network generalizes fully.",
        "section on semi-grokking",
        "best test accuracy with 40 % of the pairs",
        papers.above(0.95),
        _share(0.4, papers.best_accuracy()),
    ),
}
