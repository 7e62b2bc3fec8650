"""Weights and masks of all pruning methods: the grokked mask is periodic, others are not."""

import numpy as np
import torch

from mechgrok.analyses import papers
from mechgrok.analyses.papers.minegishi2023 import shared
from mechgrok.runs import Run
from mechgrok.sweeps import Plan, Sweep

ALSO = ("v3-fig19",)
SETTINGS = "Masks of the first seed, at k = 0.6; weights at the last step, neurons by frequency."


def plan(scale: papers.Scale) -> Plan:
    """Base runs, tickets, and networks pruned at initialization."""
    return scale.plan("add", shared.ticket(scale), *shared.at_initialization(scale))


def draw(sweep: Sweep) -> papers.Figures:
    """W_E, W_in, W_out and W_U with their masks, of every method."""
    first_seed = min(int(str(member.settings["seed"])) for member in sweep.members)
    groups = shared.PAIR | shared.AT_INITIALIZATION
    return {
        "-".join(pair).replace(" ", "-").lower(): papers.analysis_figure(
            sweep, {name: {**groups[name], "seed": first_seed} for name in pair}, "weights", at=1
        )
        for pair in (("base run", "grokked ticket"), ("random", "SNIP"), ("GraSP", "SynFlow"))
    }


def _periodicity(run: Run) -> float:
    """The share of the strongest frequency in a mask's paths from residues to neurons.

    (mask of W_E)(mask of W_in) counts the paths from each residue to each neuron; the spectrum is
    over residues for each neuron, and the mean over neurons with paths.
    """
    assert run.mask is not None
    paths = run.mask["W_E"].double() @ run.mask["W_in"].double()
    power = torch.fft.rfft(paths - paths.mean(0), dim=0).abs().square()[1:].numpy()
    total = power.sum(0)
    share = np.divide(power.max(0), total, out=np.zeros_like(total), where=total > 0)
    return float(share[total > 0].mean())


CLAIMS = {
    f"more-periodic-than-{method}": papers.Claim(
        f"The grokked mask is periodic over the residues, that of {name} is not.",
        "v3, figures 18 and 19",
        "share of the strongest frequency in the power of (mask of W_E)(mask of W_in), mean over "
        f"neurons: the ticket's over that of {name}",
        papers.EARLIER,
        papers.of_run(_periodicity, stage="ticket")
        / papers.of_run(_periodicity, stage="initialization", method=method),
    )
    for method, name in shared.METHODS.items()
}
