"""StableMax and ⊥Grad generalize without weight decay, and ⊥Grad without a delay."""

from mechgrok.analyses import papers
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "The network and settings of the item before: an MLP that adds modulo 43 with 70 % of the "
    "pairs for training, learning rate 0.01, for at most 3,000 steps. By then no softmax has "
    "collapsed in float64, so that learning with it has not stopped; in float32 the loss jumps "
    "twice after the collapse, and the test accuracy with it."
)
_KINDS = {
    "float32": "softmax in float32",
    "float64": "softmax in float64",
    "stablemax": "StableMax",
    "orthograd": "⊥Grad, softmax in float32",
    "decay": "weight decay 1, softmax in float32",
}


def plan(scale: papers.Scale) -> Plan:
    """Runs of every kind."""
    return papers.join(scale.plan(kind) for kind in _KINDS)


def draw(sweep: Sweep) -> papers.Figures:
    """Accuracy and norm over training, for every kind of run."""
    groups = {name: {"network": kind} for kind, name in _KINDS.items()}
    title = "Without weight decay: losses and ⊥Grad; and with decay"
    return {"accuracy": papers.training_figure(sweep, groups, title, ("accuracy", "L2 √Σw²"))}


CLAIMS = {
    "precision": papers.Claim(
        "With a softmax in higher precision, learning without decay stops at a higher accuracy.",
        "section 3",
        "best test accuracy with float64 over that with float32",
        papers.EARLIER,
        papers.best_accuracy(network="float64") / papers.best_accuracy(network="float32"),
    ),
    "stablemax": papers.Claim(
        "With StableMax the network generalizes without weight decay.",
        "section 3",
        "best test accuracy with StableMax",
        papers.above(0.95),
        papers.best_accuracy(network="stablemax"),
    ),
    "stablemax-higher": papers.Claim(
        "With StableMax it generalizes further than with softmax.",
        "section 3",
        "best test accuracy with StableMax over that with softmax in float32",
        papers.EARLIER,
        papers.best_accuracy(network="stablemax") / papers.best_accuracy(network="float32"),
    ),
    "orthograd": papers.Claim(
        "With ⊥Grad the network generalizes without weight decay.",
        "section 5",
        "best test accuracy with ⊥Grad",
        papers.above(0.95),
        papers.best_accuracy(network="orthograd"),
    ),
    "orthograd-earlier": papers.Claim(
        "⊥Grad generalizes earlier than weight decay does.",
        "section 5",
        "t_gen with weight decay over t_gen with ⊥Grad",
        papers.EARLIER,
        papers.t_gen(network="decay") / papers.t_gen(network="orthograd"),
    ),
    "orthograd-no-delay": papers.Claim(
        "With ⊥Grad there is hardly a delay.",
        "section 5",
        "τ = t_gen / t_mem with ⊥Grad",
        papers.below(2, "log"),
        papers.tau(network="orthograd"),
    ),
}
