"""With the norm held, a temperature alone moves the delay, and undoes the effect of the norm."""

from mechgrok.analyses import papers
from mechgrok.analyses.drawing import COLORS, Panels
from mechgrok.analyses.papers.khanh2026b import shared
from mechgrok.analyses.papers.khanh2026b.shared import (
    BASELINE,
    LARGE,
    MATCHED,
    NORMS,
    SHARP,
    TEMPERATURES,
    held,
    share_of_delay,
    t_gen,
)
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "An MLP adds modulo 43 with half of the pairs for training, without weight decay, for at most "
    "8,000 steps. The norm of all weights is held at 29, 32.5 (the baseline) or 36.5, and the "
    "logits are divided by a temperature of 0.625, 1 or 1.6 in the loss. From 32.5 to 36.5 the "
    "logits grow by 1.59, which a temperature of 1.6 undoes. Shares are of ln t_gen. The paper's "
    "claims about squared error are not tested: at these norms the network does not memorize with "
    "it within 4,000 steps (one seed)."
)


def plan(scale: papers.Scale) -> Plan:
    """Runs at every norm and temperature."""
    return shared.plan(scale)


def draw(sweep: Sweep) -> papers.Figures:
    """t_gen and t_mem over the temperature, for each held norm."""
    figure = Panels({}, title="The delay over the temperature, with the norm held")
    row = figure.row(height=320, legend=True)
    for name, quantity in (("t_gen", papers.t_gen), ("t_mem", papers.t_mem)):
        x = {"title": "temperature", "type": "log", "tickvals": list(TEMPERATURES)}
        panel = row.panel(x=x, y={"title": name, "type": "log"})
        for norm, color in zip(NORMS, COLORS, strict=False):
            values = {
                at: quantity(network="softmax", constraint=held(norm), temperature=at)(sweep)
                for at in TEMPERATURES
            }
            papers.points(panel, values, color, f"norm {norm:g}" if name == "t_gen" else "")
    return {"delay": figure.draw()}


def _t_mem(temperature: float) -> papers.Quantity:
    return papers.t_mem(network="softmax", constraint=held(LARGE), temperature=temperature)


_NORM_ALONE = t_gen(LARGE)
CLAIMS = {
    "norm-delays": papers.Claim(
        "A larger held norm delays generalization.",
        "abstract",
        "t_gen with norm 36.5 over t_gen with norm 32.5, both at temperature 1",
        papers.EARLIER,
        _NORM_ALONE / t_gen(BASELINE),
    ),
    "temperature-delays": papers.Claim(
        "With the norm held, the temperature alone moves the delay over the range of the norm.",
        "abstract",
        "share of the norm's delay that a temperature of 0.625 makes at norm 32.5",
        papers.above(0.5),
        share_of_delay(t_gen(BASELINE), _NORM_ALONE, t_gen(BASELINE, SHARP)),
        "the full range",
    ),
    "matched": papers.Claim(
        "Bringing the logit scale back to its baseline undoes most of the norm's delay.",
        "abstract",
        "share of the norm's delay that is left at norm 36.5 with temperature 1.6",
        papers.below(0.5),
        share_of_delay(t_gen(BASELINE), _NORM_ALONE, t_gen(LARGE, MATCHED)),
        "0.17 and 0.11 (0.83 and 0.89 recovered)",
    ),
    "memorization": papers.Claim(
        "The temperature does not change the time of memorization.",
        "abstract",
        "t_mem with temperature 0.625 over t_mem with 1.6, both at norm 36.5",
        papers.within(0.67, 1.5, "log"),
        _t_mem(SHARP) / _t_mem(MATCHED),
    ),
}
