"""With a smaller share of the pairs for training, generalization takes ever more steps."""

from mechgrok.analyses import papers
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "The paper trains transformers on division modulo 97 and on S₅; here an MLP adds modulo 43, "
    "with weight decay 1, for at most 20,000 steps. The paper's t_gen is at 99 % test accuracy, "
    "here at 95 %. On S₅, near 25 to 30 % of the data, one percentage point less takes 40 to 50 % "
    "longer, which this network does not test."
)


def plan(scale: papers.Scale) -> Plan:
    """Runs at five shares of training pairs."""
    return scale.plan("shares", over={"train_fraction": "0.3,0.4,0.5,0.6,0.7"})


def draw(sweep: Sweep) -> papers.Figures:
    """t_mem and t_gen over the share of training pairs."""
    panels = {"training step": {"t_mem": papers.t_mem(), "t_gen": papers.t_gen()}}
    title = "Steps to memorize and to generalize, over the share of training pairs"
    x = {"title": "share of pairs for training", "tickformat": ".0%"}
    return {"shares": papers.setting_figure(sweep, title, "train_fraction", x, panels)}


def _t_gen(share: float) -> papers.Quantity:
    return papers.t_gen(train_fraction=share)


CLAIMS = {
    "fewer-pairs-later": papers.Claim(
        "With fewer training pairs, generalization takes more steps.",
        "figure 1, center",
        "t_gen with 40 % of the pairs over t_gen with 70 %",
        papers.EARLIER,
        _t_gen(0.4) / _t_gen(0.7),
    ),
    "explodes": papers.Claim(
        "The number of steps rises ever more steeply as the share falls.",
        "figure 1, center",
        "the factor from 40 % to 30 % of the pairs over the factor from 70 % to 60 %",
        papers.EARLIER,
        (_t_gen(0.3) / _t_gen(0.4)) / (_t_gen(0.6) / _t_gen(0.7)),
    ),
    "memorizes-as-soon": papers.Claim(
        "Memorization takes about as many steps at every share.",
        "section 3.1",
        "t_mem with 30 % of the pairs over t_mem with 70 %",
        papers.within(0.5, 2, "log"),
        papers.t_mem(train_fraction=0.3) / papers.t_mem(train_fraction=0.7),
    ),
}
