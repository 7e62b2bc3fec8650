"""A larger output scale lengthens the delay, without weight decay."""

from mechgrok.analyses import papers
from mechgrok.analyses.papers.kumar2023 import TEMPERATURES
from mechgrok.runs import Run
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "The paper multiplies the output by α and divides the learning rate by α², with gradient "
    "descent, and with a transformer for modular arithmetic; here an MLP adds modulo 43, with 70 % "
    "of the ordered pairs, AdamW without weight decay, for at most 5,000 steps. The loss is the "
    "cross-entropy of logits / T, so that α = 1 / T; AdamW's steps do not depend on the scale of "
    "the loss. Temperatures, and the criterion of 90 % test accuracy, were chosen after trying one "
    "seed, in which few networks without decay reach 95 %."
)


def plan(scale: papers.Scale) -> Plan:
    """Runs at each temperature."""
    return scale.plan("scaled", over={"temperature": ",".join(map(str, TEMPERATURES))})


def draw(sweep: Sweep) -> papers.Figures:
    """Accuracy and norm over training at each output scale."""
    groups = {f"α = 1/{T}" if T > 1 else "α = 1": {"temperature": float(T)} for T in TEMPERATURES}
    title = "Modular addition without weight decay, by output scale α"
    return {"accuracy": papers.training_figure(sweep, groups, title, ("accuracy", "L2 √Σw²"))}


def _growth(run: Run) -> float:
    """The last L2 norm over that at t_mem; NaN without t_mem."""
    metrics = run.metrics
    if run.t_mem is None:
        return float("nan")
    at = metrics.loc[metrics["step"] >= run.t_mem, "l2"]
    return float(at.iloc[-1] / at.iloc[0])


CLAIMS = {
    "delay-grows": papers.Claim(
        "A larger output scale lengthens the delay.",
        "section on modular arithmetic",
        "τ = t_gen / t_mem at 90 %, with α = 1 over τ with α = 1/8",
        papers.EARLIER,
        papers.tau(0.9, temperature=1.0) / papers.tau(0.9, temperature=8.0),
    ),
    "delay-grows-when-small": papers.Claim(
        "A larger output scale lengthens the delay: small scales.",
        "section on modular arithmetic",
        "τ = t_gen / t_mem at 90 %, with α = 1/8 over τ with α = 1/32",
        papers.EARLIER,
        papers.tau(0.9, temperature=8.0) / papers.tau(0.9, temperature=32.0),
    ),
    "groks-without-decay": papers.Claim(
        "Networks generalize late without any weight decay.",
        "abstract",
        "τ = t_gen / t_mem at 90 %, with α = 1/8",
        papers.within(2, 1_000, "log"),
        papers.tau(0.9, temperature=8.0),
    ),
    "norm-grows": papers.Claim(
        "The weight norm grows meanwhile: its fall is not what makes networks generalize.",
        "figure 1",
        "last L2 norm over that at t_mem, with α = 1/8",
        papers.above(1, "log"),
        papers.of_run(_growth, temperature=8.0),
    ),
}
