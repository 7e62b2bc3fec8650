"""Of all changes to training, weight decay helps generalization most."""

from mechgrok.analyses import papers
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "The paper trains transformers on S₅ for 100,000 steps; here an MLP adds modulo 43, with half "
    "of the pairs for training, for 6,000 steps. Dropout is 0.1, weight decay 1, mini-batches have "
    "256 pairs. Weight decay towards the initial weights, and noise of gradients or weights, are "
    "not covered."
)
#: The kinds of training without weight decay, by their names in the figure.
OTHERS = {
    "none": "no regularization",
    "dropout": "dropout",
    "mini-batches": "mini-batches",
    "slow": "a learning rate of 0.0003",
    "fast": "a learning rate of 0.003",
}


def plan(scale: papers.Scale) -> Plan:
    """Runs of each kind of training, and of no regularization with 80 % of the pairs."""
    return papers.join(scale.plan(kind) for kind in ("decay", *OTHERS, "most-pairs"))


def draw(sweep: Sweep) -> papers.Figures:
    """Test accuracy of each kind of training."""
    groups = {"weight decay": {"network": "decay"}}
    groups |= {name: {"network": kind} for kind, name in OTHERS.items()}
    return {"accuracy": papers.training_figure(sweep, groups, "Test accuracy with each change")}


CLAIMS = {
    **{
        f"decay-before-{kind}": papers.Claim(
            f"Weight decay makes the network generalize earlier than {name} does.",
            "figure 2, left",
            f"t_gen with {name} over t_gen with weight decay",
            papers.EARLIER,
            papers.t_gen(network=kind) / papers.t_gen(network="decay"),
        )
        for kind, name in OTHERS.items()
    },
    "some-without": papers.Claim(
        "With many training pairs there is some generalization without any regularization.",
        "figure 2, left",
        "best test accuracy with 80 % of the pairs and no regularization",
        papers.above(0.5),
        papers.best_accuracy(network="most-pairs"),
    ),
}
