"""Free runs generalize when their weight norm has come down to one value, W_c."""

from typing import Any

import numpy as np

from mechgrok.analyses import papers
from mechgrok.analyses.papers.quantities import over_setting
from mechgrok.runs import Run
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "An MLP adds modulo 43, with half of the pairs for training and weight decay 1, for at most "
    "10,000 steps; t_gen is at 95 % test accuracy. The paper trains MLPs on modular arithmetic at "
    "several moduli and training fractions, and reports the coefficient of variation of W_c over "
    "seeds; here each seed is compared with the median of the others, and the coefficient is over "
    "three learning rates with one seed."
)
_USUAL: dict[str, Any] = {"network": "rates", "learning_rate": 1e-3}


def plan(scale: papers.Scale) -> Plan:
    """Free runs at three learning rates, and at two other moduli."""
    return papers.join(
        [
            scale.plan("rates", over={"learning_rate": "3e-4,1e-3,3e-3"}),
            scale.plan("moduli", over={"p": "31,59"}),
        ]
    )


def _norm_at_t_gen(run: Run) -> float:
    """√Σw² at t_gen; NaN if the run has not generalized."""
    metrics = run.metrics.drop_duplicates("step").set_index("step")
    return float("nan") if run.t_gen is None else float(metrics.l2[run.t_gen])


def draw(sweep: Sweep) -> papers.Figures:
    """W_c and t_gen over the learning rate and over the modulus, and the free runs' norms."""
    figures = {}
    for name, setting, x in (
        (
            "rates",
            "learning_rate",
            {"title": "learning rate", "type": "log"},
        ),
        ("moduli", "p", {"title": "modulus"}),
    ):
        panels = {
            "√Σw² at t_gen": {"W_c": papers.of_run(_norm_at_t_gen, network=name)},
            "training step": {"t_gen": papers.t_gen(network=name)},
        }
        title = f"The norm at t_gen, over the {x['title']}"
        figures[name] = papers.setting_figure(sweep, title, setting, x, panels)
    groups = {
        f"learning rate {rate:g}": {"network": "rates", "learning_rate": rate}
        for rate in (3e-4, 1e-3, 3e-3)
    }
    title = "Accuracy and norm of free runs"
    figures["norms"] = papers.training_figure(sweep, groups, title, ("accuracy", "L2 √Σw²"))
    return figures


def _from_the_others(quantity: papers.Quantity) -> papers.Quantity:
    """|value / median of the other seeds' values − 1| of each seed."""

    def values(sweep: Sweep) -> papers.BySeed:
        by_seed = {seed: value.low for seed, value in quantity(sweep).items()}
        return {
            seed: papers.Bounds.exactly(
                abs(value / np.median([v for s, v in by_seed.items() if s != seed]) - 1)
            )
            for seed, value in by_seed.items()
            if len(by_seed) > 1
        }

    return papers.Quantity(values)


def _variation(by_rate: dict[float, papers.Bounds]) -> float | None:
    """The coefficient of variation, of three values."""
    norms = np.array([value.low for value in by_rate.values()])
    return float(norms.std(ddof=1) / norms.mean()) if len(norms) == 3 else None


CLAIMS = {
    "same-over-seeds": papers.Claim(
        "All seeds generalize at nearly the same weight norm.",
        "abstract",
        "distance of √Σw² at t_gen from the median of the other seeds, relative",
        papers.below(0.02),
        _from_the_others(papers.of_run(_norm_at_t_gen, **_USUAL)),
        "coefficient of variation 1 to 2 %",
    ),
    "same-over-rates": papers.Claim(
        "The norm at generalization hardly depends on the learning rate.",
        "abstract",
        "coefficient of variation of √Σw² at t_gen over learning rates 0.0003, 0.001 and 0.003",
        papers.below(0.03),
        over_setting("learning_rate", papers.of_run(_norm_at_t_gen, network="rates"), _variation),
        "nearly unchanged over a ten-fold range",
    ),
    "grows-with-modulus": papers.Claim(
        "The norm at generalization grows with the modulus.",
        "abstract",
        "√Σw² at t_gen modulo 59 over that modulo 31",
        papers.EARLIER,
        papers.of_run(_norm_at_t_gen, network="moduli", p=59)
        / papers.of_run(_norm_at_t_gen, network="moduli", p=31),
        "a power law",
    ),
}
