"""Weights and masks of all ways of pruning: the grokked mask is periodic, others are not."""

import numpy as np
import plotly.graph_objects as go
import torch

from mechgrok.analyses.papers import runs
from mechgrok.analyses.papers.claims import EARLIER, Claim
from mechgrok.analyses.papers.figures import analysis_figure
from mechgrok.analyses.papers.items.v3_fig5b import METHODS
from mechgrok.analyses.papers.quantities import chosen, of_run, over
from mechgrok.analyses.papers.scale import Scale
from mechgrok.runs import Run
from mechgrok.sweeps import Plan, Sweep

ALSO = ("v3-fig19",)
SETTINGS = "Masks of the first seed, at k = 0.6; weights at the last step, neurons by frequency."


def plan(scale: Scale) -> Plan:
    """Base runs, tickets, and networks pruned at initialization."""
    return runs.runs(scale, "add", runs.ticket(scale), *runs.at_initialization(scale))


def draw(sweep: Sweep) -> dict[str, go.Figure]:
    """W_E, W_in, W_out and W_U with their masks, of every method."""
    first = min((str(m.settings["seed"]) for m in sweep.members), default="0")
    own = chosen(sweep, seed=int(first))
    assert own is not None
    groups = {
        "base run": chosen(own, stage="base"),
        "grokked ticket": chosen(own, stage="ticket"),
    } | {n: chosen(own, stage="initialization", method=m) for m, n in METHODS.items()}
    pairs = [("base run", "grokked ticket"), ("random", "SNIP"), ("GraSP", "SynFlow")]
    return {
        "-".join(pair).replace(" ", "-").lower(): analysis_figure(
            {name: groups[name] for name in pair}, "weights", steps=[10**9]
        )
        for pair in pairs
    }


def _periodicity(run: Run) -> float:
    """Share of the strongest frequency in the paths that a mask leaves from residues to neurons.

    (mask of W_E)(mask of W_in) counts the ways from each residue to each neuron; its spectrum over
    residues is taken neuron by neuron, and the mean is over neurons that have any.
    """
    assert run.mask is not None
    kept = run.mask["W_E"].double() @ run.mask["W_in"].double()
    power = torch.fft.rfft(kept - kept.mean(0), dim=0).abs().square()[1:].numpy()
    total = power.sum(0)
    share = np.divide(power.max(0), total, out=np.zeros_like(total), where=total > 0)
    return float(share[total > 0].mean())


CLAIMS = tuple(
    Claim(
        f"more-periodic-than-{method}",
        f"The grokked mask is periodic over the residues, that of {name} is not.",
        "v3, figures 18 and 19",
        "share of the strongest frequency in the power of (mask of W_E)(mask of W_in), mean over "
        f"neurons: the ticket's over that of {name}",
        EARLIER,
        over(
            of_run(_periodicity, stage="ticket"),
            of_run(_periodicity, stage="initialization", method=method),
        ),
    )
    for method, name in METHODS.items()
)
