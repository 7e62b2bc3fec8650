"""The neural tangent kernel is still the first one after memorization, and then changes."""

import xarray as xr

from mechgrok.analyses import papers
from mechgrok.analyses.papers.kumar2023 import TEMPERATURES
from mechgrok.measuring import analyze
from mechgrok.runs import Run
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "The runs of output-scale. The kernel is measured at the first checkpoint, at that nearest to "
    "t_mem and at the last, on 100 examples of each side. CKA is with the kernel of step 0."
)


def plan(scale: papers.Scale) -> Plan:
    """Runs at each temperature."""
    return scale.plan("scaled", over={"temperature": ",".join(map(str, TEMPERATURES))})


def draw(sweep: Sweep) -> papers.Figures:
    """The kernel over training at each output scale."""
    groups = {f"α = 1/{T}" if T > 1 else "α = 1": {"temperature": float(T)} for T in TEMPERATURES}
    return {"kernel": papers.analysis_figure(sweep, groups, "kernel", checkpoints=12)}


def _at(run: Run) -> xr.Dataset | None:
    """The kernel at t_mem and at the end; None without t_mem."""
    if run.t_mem is None:
        return None
    t_mem = run.t_mem
    near = min(run.steps, key=lambda step: abs(step - t_mem))
    return analyze(run, "kernel", steps=[near, run.steps[-1]])


def _cka_at_memorization(run: Run) -> float:
    dataset = _at(run)
    return float("nan") if dataset is None else float(dataset.cka[0])


def _cka_change(run: Run) -> float:
    dataset = _at(run)
    return float("nan") if dataset is None else float(dataset.cka[1] / dataset.cka[0])


def _alignment_rise(run: Run) -> float:
    dataset = _at(run)
    if dataset is None:
        return float("nan")
    return float(dataset.test_alignment[1] - dataset.test_alignment[0])


CLAIMS = {
    "lazier-at-memorization": papers.Claim(
        "With a larger output scale the kernel changes less until memorization.",
        "sections on lazy training",
        "CKA with the first kernel at t_mem, with α = 1 over α = 1/8",
        papers.above(1, "log"),
        papers.of_run(_cka_at_memorization, temperature=1.0)
        / papers.of_run(_cka_at_memorization, temperature=8.0),
    ),
    "changes-later": papers.Claim(
        "Between memorization and generalization the kernel changes further.",
        "sections on lazy training",
        "CKA with the first kernel at the end over that at t_mem, with α = 1/8",
        papers.below(1, "log"),
        papers.of_run(_cka_change, temperature=8.0),
    ),
    "alignment-rises": papers.Claim(
        "Meanwhile the kernel aligns with the target.",
        "sections on kernel alignment",
        "alignment with the target on the test set at the end less that at t_mem, with α = 1/8",
        papers.above(0),
        papers.of_run(_alignment_rise, temperature=8.0),
    ),
}
