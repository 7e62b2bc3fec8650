"""Amplifying the slow part of the gradient makes a transformer generalize earlier."""

from mechgrok.analyses import papers
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "The paper trains a transformer of two layers and width 128 on a · b mod 97 with Adam and "
    "batches of 512; here it has one layer of width 64, on a · b mod 43, for at most 3,000 steps. "
    "In the authors' commands, the runs with a filter have weight decay (0.005 with EMA, 0.01 with "
    "MA, in Adam's gradient) and the baseline has none. Two more kinds of runs here have this "
    "decay and no filter. It is a penalty on the loss, so that a filter acts on its gradient too."
)
#: The kinds of runs, by their names in the figure.
KINDS = {
    "none": "no filter, no decay",
    "ema": "EMA",
    "ma": "MA",
    "ema-decay": "the decay of EMA alone",
    "ma-decay": "the decay of MA alone",
}
#: The filters: name and factor in the paper.
_FILTERS = {
    "ema": ("Grokfast-EMA", "39,890 / 910 = 44"),
    "ma": ("Grokfast-MA", "39,890 / 790 = 50"),
}


def plan(scale: papers.Scale) -> Plan:
    """Runs of each kind."""
    return papers.join(scale.plan(kind) for kind in KINDS)


def draw(sweep: Sweep) -> papers.Figures:
    """Accuracy over training with and without filters and decay."""
    groups = {name: {"network": kind} for kind, name in KINDS.items()}
    title = "A transformer on multiplication, with and without Grokfast"
    return {"accuracy": papers.training_figure(sweep, groups, title, ("accuracy", "L2 √Σw²"))}


def _earlier(slow: str, fast: str) -> papers.Quantity:
    return papers.t_gen(network=slow) / papers.t_gen(network=fast)


CLAIMS = {
    **{
        f"{kind}-earlier": papers.Claim(
            f"{name} makes the transformer generalize earlier.",
            "the authors' commands and table for algorithmic data",
            "t_gen without filter and decay over t_gen with both",
            papers.EARLIER,
            _earlier("none", kind),
            printed,
        )
        for kind, (name, printed) in _FILTERS.items()
    },
    **{
        f"{kind}-at-equal-decay": papers.Claim(
            f"{name} makes it earlier at equal weight decay, too.",
            "our comparison; the authors' baseline has no decay",
            "t_gen with the decay alone over t_gen with decay and filter",
            papers.EARLIER,
            _earlier(f"{kind}-decay", kind),
        )
        for kind, (name, _) in _FILTERS.items()
    },
}
