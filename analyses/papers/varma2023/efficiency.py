"""Memorizing takes more weight the more pairs there are; generalizing does not."""

from mechgrok.analyses import papers
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "The paper compares logits at equal parameter norm, in transformers that memorize random "
    "labels or generalize; here MLPs train on random labels or on a + b for unordered pairs modulo "
    "43, with the same weight decay for 3,000 steps, and the norm and the training loss at the end "
    "are compared. A network that needs a larger norm for a larger loss is less efficient."
)
#: Shares of the pairs for training.
SHARES = (0.5, 0.8)


def plan(scale: papers.Scale) -> Plan:
    """Runs on true and on random labels, with each share."""
    over = {"train_fraction": ",".join(map(str, SHARES))}
    return papers.join(scale.plan(name, over=over) for name in ("true", "random"))


def draw(sweep: Sweep) -> papers.Figures:
    """Accuracy, loss and norm over training, for both kinds of labels and both shares."""
    groups = {
        f"{name} labels, {share:.0%} of the pairs": {"network": name, "train_fraction": share}
        for name in ("true", "random")
        for share in SHARES
    }
    title = "The norm of memorizing and of generalizing networks"
    rows = ("accuracy", "loss", "L2 √Σw²")
    return {"norms": papers.training_figure(sweep, groups, title, rows)}


def _last(column: str, network: str, share: float) -> papers.Quantity:
    """A column of the metrics at the end."""
    return papers.metric_at(-1, column, network=network, train_fraction=share)


CLAIMS = {
    "memorizing-grows": papers.Claim(
        "More pairs make memorizing less efficient.",
        "section on the efficiency of circuits",
        "final L2 norm with random labels, 80 % of the pairs over 50 %",
        papers.above(1, "log"),
        _last("l2", "random", 0.8) / _last("l2", "random", 0.5),
    ),
    "at-a-larger-loss": papers.Claim(
        "The larger norm of memorizing more pairs buys no smaller loss.",
        "section on the efficiency of circuits",
        "final training loss with random labels, 80 % of the pairs over 50 %",
        papers.above(1, "log"),
        _last("train_loss", "random", 0.8) / _last("train_loss", "random", 0.5),
    ),
    "generalizing-does-not": papers.Claim(
        "The efficiency of generalizing does not depend on the number of pairs.",
        "section on the efficiency of circuits",
        "final L2 norm with true labels, 80 % of the pairs over 50 %",
        papers.within(0.9, 1.11, "log"),
        _last("l2", "true", 0.8) / _last("l2", "true", 0.5),
    ),
    "generalizing-is-efficient": papers.Claim(
        "With many pairs, generalizing is more efficient than memorizing.",
        "section on the efficiency of circuits",
        "final L2 norm with 80 % of the pairs, random labels over true ones",
        papers.above(1, "log"),
        _last("l2", "random", 0.8) / _last("l2", "true", 0.8),
    ),
}
