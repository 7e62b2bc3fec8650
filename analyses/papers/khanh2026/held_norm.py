"""With the norm held, the delay grows exponentially with it, and generalization is only slower."""

import numpy as np

from mechgrok.analyses import papers
from mechgrok.analyses.drawing import COLORS, Panels
from mechgrok.analyses.papers.khanh2026 import CRITICAL
from mechgrok.analyses.papers.quantities import over_setting
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "The norm of all weights is held at a multiple ρ of W_c = 35 after every step, without weight "
    "decay, for at most 10,000 steps, in an MLP that adds modulo 43. Fits are over the runs of a "
    "seed that generalize, of t_gen itself. The paper fits one α for four moduli. The network "
    "reads both numbers alike, so that it knows a test pair (a, b) if it has memorized (b, a): "
    "about half of them."
)
#: Held norms, as multiples of W_c.
DOSES = (0.9, 0.95, 1.0, 1.05, 1.1)
_FEWEST = 4


def held(dose: float) -> str:
    """The constraint that holds the norm at a multiple of W_c."""
    return f"norm:value={dose * CRITICAL:g}"


def plan(scale: papers.Scale) -> Plan:
    """Runs at every held norm, and at W_c with two other learning rates."""
    return papers.join(
        [
            scale.plan("held", over={"constraint": ",".join(map(held, DOSES))}),
            scale.plan("held-rates", over={"learning_rate": "3e-4,3e-3"}),
        ]
    )


def draw(sweep: Sweep) -> papers.Figures:
    """t_gen and t_mem over the held norm, where a straight line is an exponential law."""
    figure = Panels({}, title="The delay over the held norm: a straight line is exp(αρ)")
    x = {"title": "held norm / W_c"}
    panel = figure.row(height=320, legend=True).panel(x=x, y={"title": "step", "type": "log"})
    for entry, quantity, color in (
        ("t_gen", papers.t_gen, COLORS[0]),
        ("t_mem", papers.t_mem, COLORS[1]),
    ):
        of_doses = {dose: quantity(network="held", constraint=held(dose))(sweep) for dose in DOSES}
        papers.points(panel, of_doses, color, entry)
    groups = {f"ρ = {dose:g}": {"network": "held", "constraint": held(dose)} for dose in DOSES}
    training = papers.training_figure(sweep, groups, "Accuracy with the norm held at ρ W_c")
    return {"law": figure.draw(), "accuracy": training}


def _fit(by_constraint: dict[str, papers.Bounds]) -> tuple[float, float] | None:
    """α and R² of ln t_gen = αρ + c over the runs that generalize; None of fewer than four."""
    measured = [
        (dose, np.log(by_constraint[held(dose)].low))
        for dose in DOSES
        if held(dose) in by_constraint and np.isfinite(by_constraint[held(dose)].high)
    ]
    if len(measured) < _FEWEST:
        return None
    rho, log_t = np.array(measured).T
    return float(np.polyfit(rho, log_t, 1)[0]), float(np.corrcoef(rho, log_t)[0, 1] ** 2)


def _of_fit(place: int, possible: papers.Bounds) -> papers.Quantity:
    def reduce(by_constraint: dict[str, papers.Bounds]) -> float | None:
        fit = _fit(by_constraint)
        return None if fit is None else fit[place]

    return over_setting("constraint", papers.t_gen(network="held"), reduce, possible)


def _t_gen(dose: float) -> papers.Quantity:
    return papers.t_gen(network="held", constraint=held(dose))


CLAIMS = {
    "exponential": papers.Claim(
        "The delay is an exponential function of the held norm.",
        "abstract",
        "R² of ln t_gen over ρ",
        papers.above(0.9),
        _of_fit(1, papers.A_SHARE),
        "0.996, of the fit over four moduli",
    ),
    "exponent": papers.Claim(
        "Its exponent is about 7.5.",
        "abstract",
        "α in t_gen ∝ exp(αρ)",
        papers.within(5, 10),
        _of_fit(0, papers.Bounds(-np.inf, np.inf)),
        "7.5",
    ),
    "larger-later": papers.Claim(
        "The larger the held norm, the later the network generalizes.",
        "abstract",
        "t_gen at 1.1 W_c over t_gen at W_c",
        papers.EARLIER,
        _t_gen(1.1) / _t_gen(1.0),
    ),
    "slows-not-prevents": papers.Claim(
        "A norm above W_c slows generalization but does not prevent it.",
        "abstract",
        "best test accuracy with the norm held at 1.1 W_c",
        papers.above(0.95),
        papers.best_accuracy(network="held", constraint=held(1.1)),
    ),
    "rate-matters-little": papers.Claim(
        "At a held norm the learning rate changes the delay by a factor of about two.",
        "abstract",
        "t_gen with learning rate 0.0003 over t_gen with 0.003, both at W_c",
        papers.within(0.5, 4, "log"),
        papers.t_gen(network="held-rates", learning_rate=3e-4)
        / papers.t_gen(network="held-rates", learning_rate=3e-3),
        "about 2, over its range",
    ),
}
