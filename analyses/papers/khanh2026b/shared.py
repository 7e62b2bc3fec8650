"""Held norms and temperatures, and quantities of these runs."""

import math

from mechgrok.analyses import papers
from mechgrok.runs import Run
from mechgrok.sweeps import Plan, Sweep

#: The held norms; the middle one is the baseline.
SMALL, BASELINE, LARGE = NORMS = (29.0, 32.5, 36.5)
#: The temperatures. Logits of this network are homogeneous in its four matrices, so that from the
#: baseline to the large norm they grow by (36.5 / 32.5)⁴ = 1.59, which a temperature of 1.6 undoes.
SHARP, USUAL, MATCHED = TEMPERATURES = (0.625, 1.0, 1.6)


def held(norm: float) -> str:
    """The constraint that holds the norm."""
    return f"norm:value={norm:g}"


def plan(scale: papers.Scale) -> Plan:
    """Runs at every norm and temperature."""
    over = {"constraint": map(held, NORMS), "temperature": map(str, TEMPERATURES)}
    return scale.plan("softmax", over={name: ",".join(of) for name, of in over.items()})


def t_gen(norm: float, temperature: float = USUAL) -> papers.Quantity:
    """t_gen of the runs with a held norm and a temperature."""
    return papers.t_gen(network="softmax", constraint=held(norm), temperature=temperature)


def share_of_delay(
    base: papers.Quantity, full: papers.Quantity, part: papers.Quantity
) -> papers.Quantity:
    """ln(part / base) / ln(full / base) of three t_gen: 0 if part equals base, 1 if it equals full.

    A seed has no value if ``full`` is not later than ``base``.
    """

    def share(start: float, end: float, at: float) -> float:
        if math.isinf(at):
            return math.inf
        return 0.0 if math.isinf(end) else math.log(at / start) / math.log(end / start)

    def values(sweep: Sweep) -> papers.BySeed:
        starts, ends, ats = base(sweep), full(sweep), part(sweep)
        shares: dict[object, papers.Bounds] = {}
        for seed in starts.keys() & ends.keys() & ats.keys():
            start, end, at = starts[seed], ends[seed], ats[seed]
            if start.high < end.low:  # a finite, measured start
                both = share(start.low, end.high, at.low), share(start.low, end.low, at.high)
                shares[seed] = papers.Bounds(min(both), max(both))
        return dict(sorted(shares.items(), key=lambda item: str(item[0])))

    return papers.Quantity(values)


def logit_scale(run: Run) -> float:
    """The median of the logits' scale from t_mem to the end, over the temperature, in nats.

    NaN before t_mem.
    """
    training, metrics = run.config.training, run.metrics
    if run.t_mem is None or training is None:
        return math.nan
    return float(metrics.logit_scale[metrics.step >= run.t_mem].median()) / training.temperature
