"""Neurons' input weights turn periodic, each on one frequency; the ticket's do so by step 2,000."""

from typing import Any

import xarray as xr

from mechgrok.analyses import papers
from mechgrok.analyses.papers.minegishi2023 import shared
from mechgrok.sweeps import Plan, Sweep

ALSO = ("v2-fig14", "v3-fig8")
SETTINGS = "The weights are those of one seed. Rows are neurons, by their frequency at that step."
#: The paper's steps 0 and 2,000, and the last, as shares of the most steps, 60,000.
STEPS = {"start": 0, "step-2000": 1 / 30, "end": 1}


def plan(scale: papers.Scale) -> Plan:
    """Base runs and their tickets, with checkpoints."""
    return scale.plan("add", shared.ticket(scale))


def draw(sweep: Sweep) -> papers.Figures:
    """Weights and spectra of every neuron in base run and ticket, at three steps."""
    return {
        f"{kind}-{name}": papers.analysis_figure(sweep, shared.PAIR, analysis, at=at)
        for kind, analysis in (("weights", "periodicity"), ("spectra", "fourier"))
        for name, at in STEPS.items()
    }


def _share(at: float, stage: str) -> papers.Quantity:
    """The median live neuron's share of power in its strongest frequency, at a share of the run."""

    def value(dataset: xr.Dataset) -> Any:
        return dataset.share.where(dataset.live).median()

    return papers.answer("fourier", value, papers.A_SHARE, at=at, stage=stage)


_AT_2000 = STEPS["step-2000"]
CLAIMS = {
    "one-frequency": papers.Claim(
        "The spectrum of each neuron concentrates on one frequency.",
        "v2, figure 4; v3, figure 8",
        "base run, last step: the median neuron's share of power in its strongest frequency",
        papers.above(0.8),
        _share(1, "base"),
    ),
    "ticket-sooner": papers.Claim(
        "The ticket's neurons have become periodic by step 2,000, those of the base run have not.",
        "v2, figure 4; v3, figure 8",
        "that share at step 2,000: the ticket's over the base run's",
        papers.EARLIER,
        _share(_AT_2000, "ticket") / _share(_AT_2000, "base"),
    ),
    "ticket-by-2000": papers.Claim(
        "The ticket's neurons are periodic by step 2,000.",
        "v2, figure 4",
        "the share at step 2,000, ticket",
        papers.above(0.8),
        _share(_AT_2000, "ticket"),
    ),
}
