"""The frequency with the largest amplitude and the best aligned phase at the start wins."""

from mechgrok.analyses import papers
from mechgrok.analyses.papers.he2026 import NETWORKS
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "The paper's theory is of gradient flow from a small start with the activation x², for neurons "
    "that do not share weights. Here ReLUs and x² on frozen embeddings, and ReLUs on a trained "
    "one, all with AdamW and without decay. A neuron's winner is its strongest frequency at the "
    "end; chance is 1 of 11."
)


def plan(scale: papers.Scale) -> Plan:
    """All networks that start small."""
    return papers.join(scale.plan(network) for network in NETWORKS)


def draw(sweep: Sweep) -> papers.Figures:
    """What predicts the winners, for every network."""
    groups = {name: {"network": network} for network, name in NETWORKS.items()}
    return {"lottery": papers.analysis_figure(sweep, groups, "lottery")}


def _predicted(network: str, by: str) -> papers.Quantity:
    """The share of neurons whose winner has the first rank at step 0."""
    return papers.answer(
        "lottery",
        lambda dataset: float(dataset[f"predicted_by_{by}"][0]),
        papers.A_SHARE,
        network=network,
    )


CLAIMS = {
    f"{name}-{network}": claim
    for network, act in NETWORKS.items()
    for name, claim in {
        "above-chance": papers.Claim(
            f"The start predicts which frequency wins within a neuron ({act}).",
            "section on the lottery",
            "share of neurons whose winner has the largest amplitude × cos D at step 0",
            papers.above(1 / 11),
            _predicted(network, "both"),
        ),
        "decided": papers.Claim(
            f"In most neurons it decides which ({act}).",
            "section on the lottery",
            "share of neurons whose winner has the largest amplitude × cos D at step 0",
            papers.above(0.5),
            _predicted(network, "both"),
        ),
        "phase-matters": papers.Claim(
            f"Amplitude and phase together predict it better than the amplitude alone ({act}).",
            "section on the lottery",
            "share predicted by amplitude × cos D over share predicted by the amplitude",
            papers.EARLIER,
            _predicted(network, "both") / _predicted(network, "amplitude"),
        ),
    }.items()
}
