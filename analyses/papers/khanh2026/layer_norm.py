"""A final LayerNorm removes the dependence of the delay on the norm."""

from mechgrok.analyses import papers
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "An MLP adds modulo 43 with 70 % of the pairs for training, for at most 4,000 steps, with the "
    "norm of all weights held at 26 or 35, with and without a LayerNorm before the unembedding "
    "(without a learned scale). The unembedding itself, behind the LayerNorm, still sets the scale "
    "of the logits. The abstract does not say whether the paper's does."
)
_LOW, _HIGH = "norm:value=26", "norm:value=35"
_NETWORKS = {"unnormalized": "none", "normalized": "LayerNorm"}


def plan(scale: papers.Scale) -> Plan:
    """Runs at both norms, with and without normalization."""
    over = {"constraint": f"{_LOW},{_HIGH}"}
    return papers.join(scale.plan(network, over=over) for network in _NETWORKS)


def draw(sweep: Sweep) -> papers.Figures:
    """Accuracy over training at both norms, with and without normalization."""
    groups = {
        f"{name}, norm {norm}": {"network": network, "constraint": constraint}
        for network, name in _NETWORKS.items()
        for norm, constraint in (("26", _LOW), ("35", _HIGH))
    }
    title = "Two held norms, without and with a final LayerNorm"
    return {"accuracy": papers.training_figure(sweep, groups, title)}


def _factor(network: str) -> papers.Quantity:
    """t_gen at the larger norm over t_gen at the smaller one."""
    return papers.t_gen(network=network, constraint=_HIGH) / papers.t_gen(
        network=network, constraint=_LOW
    )


CLAIMS = {
    "dependence-without": papers.Claim(
        "Without normalization the norm sets the delay.",
        "abstract",
        "t_gen with norm 35 over t_gen with norm 26, without LayerNorm",
        papers.EARLIER,
        _factor("unnormalized"),
    ),
    "weaker-with": papers.Claim(
        "A final LayerNorm weakens the dependence of the delay on the norm.",
        "abstract",
        "the factor between both norms without LayerNorm over that with it",
        papers.EARLIER,
        _factor("unnormalized") / _factor("normalized"),
    ),
    "removed": papers.Claim(
        "A final LayerNorm removes the dependence of the delay on the norm.",
        "abstract",
        "t_gen with norm 35 over t_gen with norm 26, with LayerNorm",
        papers.within(0.67, 1.5, "log"),
        _factor("normalized"),
    ),
}
