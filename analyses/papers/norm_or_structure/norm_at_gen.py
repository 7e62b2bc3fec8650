"""The weight norm at the step of generalization: is it the same for all free networks?"""

from typing import Any

import numpy as np

from mechgrok.analyses import papers
from mechgrok.analyses.papers.norm_or_structure import mask_timing, shared
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "The L2 norm of all weights (of a ticket: the kept ones) at the first evaluation with 95 % "
    "test accuracy. Accelerated runs use Grokfast (grokfast-ema). No norm is held here."
)
#: The arms of free networks.
ARMS: dict[str, dict[str, Any]] = {
    "dense": {"network": "add", "stage": "base"},
    "grokked ticket": {"network": "add", "stage": "ticket"},
    "accelerated dense": {"network": "fast"},
    "mask as start": {"network": "add", "stage": "start"},
    "mask from step 1,000": {
        **{"network": "add", "stage": "imposed"},
        "rewind": [1000, mask_timing.STEPS[1000]],
    },
}


def plan(scale: papers.Scale) -> Plan:
    """All free runs of the study, and accelerated ones."""
    return papers.join([mask_timing.plan(scale), scale.plan("fast")])


def _norms(arm: str) -> papers.Quantity:
    return papers.of_run(shared.norm_at_gen, **ARMS[arm])


def draw(sweep: Sweep) -> papers.Figures:
    """The norm at t_gen of every arm, with its coefficient of variation."""
    values = {}
    for arm in ARMS:
        by_seed = _norms(arm)(sweep)
        norms = [bounds.low for bounds in by_seed.values()]
        cv = f"{np.std(norms, ddof=1) / np.mean(norms):.1%}" if len(norms) > 1 else "unknown"
        values[f"{arm} (CV {cv}, n = {len(norms)})"] = by_seed
    further = "CV: coefficient of variation; n: seeds that generalize"
    return {"norms": shared.dot_figure("Weight norm at t_gen", values, "L2 norm at t_gen", further)}


def _deviation(arm: str) -> papers.Quantity:
    """The norm's distance from the median over seeds, as a share of the median."""

    def values(sweep: Sweep) -> papers.BySeed:
        norms = {seed: bounds.low for seed, bounds in _norms(arm)(sweep).items()}
        middle = float(np.median([*norms.values()])) if norms else 1.0
        return {seed: papers.Bounds.exactly(abs(n / middle - 1)) for seed, n in norms.items()}

    return papers.Quantity(values)


def _as_dense(arm: str, text: str) -> papers.Claim:
    return papers.Claim(
        text,
        "after arXiv 2606.13753",
        "norm at t_gen over that of the dense run of the same seed",
        papers.within(0.95, 1.05, "log"),
        _norms(arm) / _norms("dense"),
    )


CLAIMS = {
    "one-norm": papers.Claim(
        "Free networks generalize at a norm that varies by 1 to 2 % over seeds.",
        "arXiv 2606.13753",
        "distance of the norm at t_gen from its median over seeds",
        papers.below(0.02),
        _deviation("dense"),
        "1 to 2 %",
    ),
    "ticket-as-dense": _as_dense(
        "grokked ticket", "The ticket generalizes at the norm of its dense network (within 5 %)."
    ),
    "accelerated-as-dense": _as_dense(
        "accelerated dense", "Accelerated networks generalize at the same norm (within 5 %)."
    ),
}
