"""Networks pruned at initialization are behind the base run, whatever the method."""

import plotly.graph_objects as go

from mechgrok.analyses.papers import runs
from mechgrok.analyses.papers.claims import LATER, Claim
from mechgrok.analyses.papers.figures import accuracy_figure
from mechgrok.analyses.papers.quantities import chosen, over, t_gen
from mechgrok.analyses.papers.scale import Scale
from mechgrok.sweeps import Plan, Sweep

ALSO = ("v2-fig3", "v3-fig14")
SETTINGS = (
    "One threshold for all matrices and one round of SynFlow, as in the authors' code (Tanaka et "
    "al. take 100). The authors train up to 50,000 epochs; the horizon here is 60,000 steps."
)
METHODS = {"random": "random", "snip": "SNIP", "grasp": "GraSP", "synflow": "SynFlow"}


def plan(scale: Scale) -> Plan:
    """Base runs, their tickets, and the same weights pruned at initialization."""
    return runs.runs(scale, "add", runs.ticket(scale), *runs.at_initialization(scale))


def draw(sweep: Sweep) -> dict[str, go.Figure]:
    """Accuracy of the six kinds of runs over training."""
    groups = {
        "base run": chosen(sweep, stage="base"),
        "grokked ticket": chosen(sweep, stage="ticket"),
    } | {
        name: chosen(sweep, stage="initialization", method=method)
        for method, name in METHODS.items()
    }
    return {"accuracy": accuracy_figure(groups, "Networks pruned at initialization, k = 0.6")}


CLAIMS = tuple(
    Claim(
        f"{method}-later",
        f"Pruned at initialization ({name}), the network generalizes later than unpruned.",
        "v3, figure 5b; v2, figure 3",
        f"t_gen of the base run over that of the network pruned by {name}",
        LATER,
        over(t_gen(stage="base"), t_gen(stage="initialization", method=method)),
        "v2, table 1, at 90 %: 21,497 / 35,297 = 0.61 (method not named)",
    )
    for method, name in METHODS.items()
)
