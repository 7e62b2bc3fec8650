"""A network that has generalized and trains on with few of its pairs falls back to memorizing."""

import pandas as pd

from mechgrok.analyses import papers
from mechgrok.analyses.drawing import COLORS, SHARE, Panels
from mechgrok.runs import Run
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "The paper trains one-layer transformers on a + b mod 113 and other tasks; here an MLP adds "
    "modulo 43. It trains on 70 % of the ordered pairs until step 1,200, then on fewer of them, "
    "without a new optimizer, until step 6,000. All other pairs are the test set. The critical "
    "share is where the final test accuracy, interpolated over the logarithm of the share, is "
    "50 %."
)
#: Shares of the pairs after the change, and strengths of weight decay.
SHARES = (0.05, 0.1, 0.15, 0.2, 0.3)
DECAYS = (1, 3)
#: The step of the change, in the paper's runs.
CHANGE = 1_200


def _phase(scale: papers.Scale, share: float) -> str:
    return f"{scale.steps(CHANGE)}:train_fraction={share:g}"


def plan(scale: papers.Scale) -> Plan:
    """Runs that train on with each share, with each weight decay."""
    phases = ",".join(_phase(scale, share) for share in SHARES)
    return scale.plan("fewer", over={"phase": phases, "weight_decay": ",".join(map(str, DECAYS))})


def _at(sweep: Sweep, share: float, decay: float, quantity: papers.Quantity) -> papers.BySeed:
    """A quantity of the runs with this share and weight decay."""
    phases = {str(member.settings["phase"]) for member in sweep.members}
    phase = [phase for phase in phases if phase.endswith(f"={share:g}")]
    runs = papers.select(sweep, phase=phase, weight_decay=decay)
    return quantity(runs) if runs else {}


def _with(share: float, decay: float, quantity: papers.Quantity) -> papers.Quantity:
    return papers.Quantity(lambda sweep: _at(sweep, share, decay, quantity), quantity.possible)


_FINAL = papers.metric_at(-1, possible=papers.A_SHARE)


def _at_change(run: Run) -> float:
    """Accuracy on all other pairs when the pairs are taken away."""
    metrics = run.metrics
    return float(metrics.loc[metrics["phase"] == 1, "test_accuracy"].iloc[0])


def _fall(sweep: Sweep) -> papers.BySeed:
    """Steps from the change until test accuracy is below one half, for the runs of each seed."""
    runs = papers.first_runs(sweep)
    return {seed: _time_to_fall(run.metrics) for seed, run in runs.items()}


def _time_to_fall(metrics: pd.DataFrame) -> papers.Bounds:
    after = metrics[metrics["phase"] == 1]
    steps = after["step"] - after["step"].iloc[0]
    low = steps[after["test_accuracy"] < 0.5]
    return papers.Bounds.exactly(low.iloc[0]) if len(low) else papers.Bounds.beyond(steps.iloc[-1])


def _critical(decay: float) -> papers.Quantity:
    """The share with a final test accuracy of 50 %, or its bounds; see `SETTINGS`."""

    def values(sweep: Sweep) -> papers.BySeed:
        by_seed: dict[object, list[float]] = {}
        for share in SHARES:
            for seed, final in _at(sweep, share, decay, _FINAL).items():
                by_seed.setdefault(seed, []).append(final.low)
        whole = {seed: finals for seed, finals in by_seed.items() if len(finals) == len(SHARES)}
        return {seed: _crossing(finals) for seed, finals in whole.items()}

    return papers.Quantity(values)


def _crossing(finals: list[float], level: float = 0.5) -> papers.Bounds:
    """The smallest share from which on all final accuracies are at least ``level``.

    >>> _crossing([0.0, 0.0, 0.0, 0.0, 1.0]).low.__round__(4)
    0.2449
    """
    first = next((i for i in range(len(finals)) if min(finals[i:]) >= level), None)
    if first is None:
        return papers.Bounds.beyond(SHARES[-1])
    if first == 0:
        return papers.Bounds(0.0, SHARES[0])
    below, above = finals[first - 1], finals[first]
    way = (level - below) / (above - below)
    return papers.Bounds.exactly(SHARES[first - 1] ** (1 - way) * SHARES[first] ** way)


def draw(sweep: Sweep) -> papers.Figures:
    """Final test accuracy over the share, and accuracy over training with a decay of 1."""
    figure = Panels({}, title="Test accuracy after training on with fewer pairs")
    x = {"title": "share of pairs from the change on", "tickformat": ".0%"}
    panel = figure.row(height=280, legend=True).panel(
        x=x, y={"title": "final test accuracy", **SHARE}
    )
    for decay, color in zip(DECAYS, COLORS, strict=False):
        values = {share: _at(sweep, share, decay, _FINAL) for share in SHARES}
        papers.points(panel, values, color, f"weight decay {decay}")
    phases = dict.fromkeys(str(member.settings["phase"]) for member in sweep.members)
    groups = {
        f"{float(phase.rpartition('=')[2]):.0%} of the pairs": {"phase": phase, "weight_decay": 1}
        for phase in phases
    }
    title = "Accuracy before and after pairs are taken away"
    return {
        "shares": figure.draw(),
        "accuracy": papers.training_figure(sweep, groups, title, ("accuracy", "L2 √Σw²")),
    }


CLAIMS = {
    "falls-back": papers.Claim(
        "Trained on with far fewer pairs, a network that has generalized falls back.",
        "section on ungrokking",
        "final test accuracy with 10 % of the pairs, over that at the change",
        papers.below(0.5),
        _with(0.1, 1, _FINAL) / _with(0.1, 1, papers.of_run(_at_change)),
    ),
    "stays-with-enough": papers.Claim(
        "Above the critical number of pairs it stays generalized.",
        "section on ungrokking",
        "final test accuracy with 30 % of the pairs, over that at the change",
        papers.above(0.95),
        _with(0.3, 1, _FINAL) / _with(0.3, 1, papers.of_run(_at_change)),
    ),
    "decay-moves-nothing": papers.Claim(
        "The strength of weight decay does not move the critical number.",
        "section on ungrokking",
        "the critical share with weight decay 3 over that with 1",
        papers.within(0.8, 1.25, "log"),
        _critical(3) / _critical(1),
    ),
    "decay-hastens": papers.Claim(
        "Stronger weight decay makes the fall come earlier.",
        "section on ungrokking",
        "steps until test accuracy is below 50 %, 10 % of the pairs, decay 1 over decay 3",
        papers.EARLIER,
        _with(0.1, 1, papers.Quantity(_fall)) / _with(0.1, 3, papers.Quantity(_fall)),
    ),
}
