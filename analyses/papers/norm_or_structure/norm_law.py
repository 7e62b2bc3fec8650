"""The step at which a dense network generalizes, over the norm at which its weights are held."""

import math
from collections.abc import Callable, Mapping

import numpy as np

from mechgrok.analyses import papers
from mechgrok.analyses.drawing import COLORS, Panels
from mechgrok.analyses.papers.norm_or_structure import shared
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "The norm is the L2 norm of all weights, held after every step. Six earlier runs at 19, 27, "
    "38, 46, 54 and 76 (docs/training_studies.md) were known when the grid and the rules were "
    "chosen: t_gen 1,430 at 27 and 2,760 at 38, none within 30,000 steps from 46 on, and none that "
    "memorizes at 19. W_c is the norm at t_gen of the free run of the same seed. arXiv 2606.13753 "
    "studies other networks, at four moduli."
)
VERSION = 2
#: The norms of the exponential fit.
_FITTED = (30, 34, 38, 41, 44)
_SOURCE = "arXiv 2606.13753"


def plan(scale: papers.Scale) -> Plan:
    """Free runs, and runs at held norms."""
    norms = shared.held_norms(scale, tuple(shared.NORMS), (22, 30, 34, 38, 41, 44, 50))
    return papers.join([scale.plan("add"), scale.plan("norms", over={"constraint": norms})])


def draw(sweep: Sweep) -> papers.Figures:
    """t_mem and t_gen over the held norm."""
    subtitle = "a small point for each seed, a large one for the median; open triangles: later"
    figure = Panels(
        {}, title="Steps to memorize and to generalize, over the held norm", subtitle=subtitle
    )
    panel = figure.row(height=320, legend=True).panel(
        x="norm at which the weights are held", y=shared.LOG_STEPS | {"title": "training step"}
    )
    for color, (name, of) in zip(
        COLORS, {"t_mem": papers.t_mem, "t_gen": papers.t_gen}.items(), strict=False
    ):
        values = {
            shared.shown_norm(sweep, norm): of(**shared.cell(norm))(sweep) for norm in shared.NORMS
        }
        papers.points(panel, {n: v for n, v in values.items() if v}, color, name)
    return {"law": figure.draw()}


def _reduced(
    reduce: Callable[[Mapping[int, papers.Bounds]], papers.Bounds | None],
) -> papers.Quantity:
    """A number per seed from its t_gen by norm, at the norms at which it memorizes."""

    def values(sweep: Sweep) -> papers.BySeed:
        by_seed: dict[object, dict[int, papers.Bounds]] = {}
        for norm in shared.NORMS:
            memorized = papers.t_mem(**shared.cell(norm))(sweep)
            for seed, t_gen in papers.t_gen(**shared.cell(norm))(sweep).items():
                if math.isfinite(memorized[seed].high):
                    by_seed.setdefault(seed, {})[norm] = t_gen
        reduced = {seed: reduce(of_norms) for seed, of_norms in by_seed.items()}
        return {seed: value for seed, value in reduced.items() if value is not None}

    return papers.Quantity(values)


def _at_smallest(t_gen: Mapping[int, papers.Bounds]) -> papers.Bounds | None:
    first, best = t_gen[min(t_gen)], min(t_gen.values())
    return papers.Bounds.exactly(1) if first == best else first / best


def _span(t_gen: Mapping[int, papers.Bounds]) -> papers.Bounds | None:
    latest = papers.Bounds(*(max(v[end] for v in t_gen.values()) for end in (0, 1)))
    return latest / min(t_gen.values())


def _bend(t_gen: Mapping[int, papers.Bounds]) -> papers.Bounds | None:
    if not {30, 38, 44} <= t_gen.keys():
        return None
    low, middle, high = (t_gen[norm] for norm in (30, 38, 44))
    if not low.low == low.high < middle.low == middle.high:
        return None
    first = math.log(middle.low / low.low) / 8
    return papers.Bounds(*(math.log(end / middle.low) / 6 / first for end in high))


def _alpha(sweep: Sweep) -> papers.BySeed:
    """The slope of ln t_gen over norm / W_c, least squares; bounds where t_gen is censored."""
    critical = papers.of_run(shared.norm_at_gen, network="add", stage="base")(sweep)
    by_norm = {norm: papers.t_gen(**shared.cell(norm))(sweep) for norm in _FITTED}
    found = {}
    for seed, w_c in critical.items():
        t_gen = {norm: of[seed] for norm, of in by_norm.items() if seed in of}
        if len(t_gen) < 3:
            continue
        rho = np.array(list(t_gen)) / w_c.low
        weights = (rho - rho.mean()) / ((rho - rho.mean()) ** 2).sum()
        ends = [
            sum(
                w * math.log(v.low if (w > 0) == lower else v.high)
                for w, v in zip(weights, t_gen.values(), strict=True)
            )
            for lower in (True, False)
        ]
        found[seed] = papers.Bounds(*ends)
    return found


def _t_gen(norm: int) -> papers.Quantity:
    return papers.t_gen(**shared.cell(norm))


CLAIMS = {
    "larger-norm-later": papers.Claim(
        "Held at a larger norm, a network generalizes later.",
        _SOURCE,
        "t_gen with the norm held at 44 over t_gen at 34",
        papers.EARLIER,
        _t_gen(44) / _t_gen(34),
    ),
    "order-of-magnitude": papers.Claim(
        "The held norm moves the delay by more than a factor of ten.",
        _SOURCE,
        "latest t_gen over earliest t_gen, over all norms at which the network memorizes",
        papers.above(10, "log"),
        _reduced(_span),
        "19-fold",
    ),
    "exponential": papers.Claim(
        "ln t_gen rises linearly with the held norm: one exponential.",
        _SOURCE,
        "slope of ln t_gen from norm 38 to 44 over its slope from 30 to 38",
        papers.within(0.5, 2, "log"),
        _reduced(_bend),
        "R² = 0.996",
    ),
    "exponent": papers.Claim(
        "The exponent α of t_gen ∝ exp(α · norm / W_c) is about 7.5.",
        _SOURCE,
        "slope of ln t_gen over norm / W_c, norms 30 to 44",
        papers.within(5, 10, "log"),
        papers.Quantity(_alpha),
        "7.5",
    ),
    "monotone": papers.Claim(
        "The delay falls down to the smallest norm at which the network memorizes.",
        "a consequence of the law",
        "t_gen at the smallest such norm over the earliest t_gen at any norm",
        papers.below(1.25, "log"),
        _reduced(_at_smallest),
    ),
}
