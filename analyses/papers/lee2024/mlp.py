"""The same filters in an MLP with strong weight decay."""

from mechgrok.analyses import papers
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "Not a set-up of the paper: an MLP on a · b mod 43, half of the ordered pairs, AdamW with "
    "weight decay 1, for at most 8,000 steps, with the authors' options of the filters."
)
#: The transforms, by their names in the figure.
FILTERS = {"none": "no filter", "grokfast-ema": "Grokfast-EMA", "grokfast-ma": "Grokfast-MA"}


def plan(scale: papers.Scale) -> Plan:
    """Runs without a filter and with each."""
    return scale.plan("mlp", over={"transform": ",".join(FILTERS)})


def draw(sweep: Sweep) -> papers.Figures:
    """Accuracy over training."""
    groups = {name: {"transform": filter_} for filter_, name in FILTERS.items()}
    title = "An MLP with weight decay 1, with and without Grokfast"
    return {"accuracy": papers.training_figure(sweep, groups, title)}


CLAIMS = {
    f"{filter_}-earlier": papers.Claim(
        f"{name} makes an MLP with weight decay 1 generalize earlier.",
        "our set-up; the paper has transformers with little decay",
        "t_gen without a filter over t_gen with it",
        papers.EARLIER,
        papers.t_gen(transform="none") / papers.t_gen(transform=filter_),
    )
    for filter_, name in FILTERS.items()
    if filter_ != "none"
}
