"""Networks pruned at initialization are behind the base run, for every method."""

from mechgrok.analyses import papers
from mechgrok.analyses.papers.minegishi2023 import shared
from mechgrok.sweeps import Plan, Sweep

ALSO = ("v2-fig3", "v3-fig14")
SETTINGS = (
    "One threshold for all matrices and one round of SynFlow, as in the authors' code (Tanaka et "
    "al. use 100). The authors train for up to 50,000 epochs; the limit here is 60,000 steps."
)


def plan(scale: papers.Scale) -> Plan:
    """Base runs, their tickets, and the same weights pruned at initialization."""
    return scale.plan("add", shared.ticket(scale), *shared.at_initialization(scale))


def draw(sweep: Sweep) -> papers.Figures:
    """Accuracy of the six kinds of runs over training."""
    title = "Networks pruned at initialization, k = 0.6"
    return {
        "accuracy": papers.training_figure(sweep, shared.PAIR | shared.AT_INITIALIZATION, title)
    }


CLAIMS = {
    f"{method}-later": papers.Claim(
        f"Pruned at initialization ({name}), the network generalizes later than unpruned.",
        "v3, figure 5b; v2, figure 3",
        f"t_gen of the base run over that of the network pruned by {name}",
        papers.LATER,
        papers.t_gen(stage="base") / papers.t_gen(stage="initialization", method=method),
        "v2, table 1, at 90 %: 21,497 / 35,297 = 0.61 (method not named)",
    )
    for method, name in shared.METHODS.items()
}
