"""The same in a polynomial regression by gradient descent, the authors' toy model."""

from mechgrok.analyses import papers
from mechgrok.analyses.papers.kumar2023 import REGRESSIONS
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "The paper regresses ½ (β·x)² with a two-layer network of nearly linear neurons whose readout "
    "is fixed; here both layers of a network of 100 ReLUs without biases learn it in 20 dimensions "
    "from 700 of 2,000 examples, by full-batch gradient descent on the MSE, for at most 12,000 "
    "steps. The outputs of such a network are homogeneous of degree 2: with weights κ times as "
    "large it learns as with an output scale of α = κ² and another learning rate, which changes "
    "t_mem and t_gen by the same factor. They are the steps at which the unexplained share of "
    "variance is 0.01 on training and 0.1 on test examples. The scales were chosen after trying "
    "seeds of a simulation, with a loss of 0.1 on both sides."
)


def plan(scale: papers.Scale) -> Plan:
    """Runs at each scale."""
    return papers.join(scale.plan(name) for name in REGRESSIONS)


def draw(sweep: Sweep) -> papers.Figures:
    """Losses and norm over training at each scale."""
    groups = {f"α = {kappa**2:g}": {"network": name} for name, (kappa, _) in REGRESSIONS.items()}
    title = "Polynomial regression without weight decay, by output scale α"
    return {"loss": papers.training_figure(sweep, groups, title, ("loss", "L2 √Σw²"))}


CLAIMS = {
    "delay-grows": papers.Claim(
        "A larger output scale lengthens the delay of the test loss.",
        "section on polynomial regression",
        "τ = t_gen / t_mem with α = 4 over τ with α = 1/4",
        papers.EARLIER,
        papers.tau(network="lazy") / papers.tau(network="rich"),
    ),
    "delayed-when-lazy": papers.Claim(
        "With a large output scale the test loss falls late, without any decay.",
        "section on polynomial regression",
        "τ = t_gen / t_mem with α = 4",
        papers.above(2, "log"),
        papers.tau(network="lazy"),
    ),
    "no-delay-when-rich": papers.Claim(
        "With a small output scale there is hardly a delay.",
        "section on polynomial regression",
        "τ = t_gen / t_mem with α = 1/4",
        papers.below(2, "log"),
        papers.tau(network="rich"),
    ),
}
