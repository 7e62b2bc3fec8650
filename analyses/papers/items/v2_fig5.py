"""The entropy of the neurons' spectra falls with generalization, and much earlier in the ticket."""

from typing import Any

import plotly.graph_objects as go
import xarray as xr

from mechgrok.analyses.papers import runs
from mechgrok.analyses.papers.claims import Claim, below
from mechgrok.analyses.papers.figures import analysis_figure
from mechgrok.analyses.papers.quantities import answer, chosen, nearest, over
from mechgrok.analyses.papers.scale import Scale
from mechgrok.sweeps import Plan, Sweep

ALSO = ("v3-fig8-top",)
SETTINGS = (
    "The text defines an entropy of normalized spectra and does not say whether of amplitude or "
    "power. The authors' code takes amplitudes at ω = 1 … 32 and −Σ q ln softmax(q), of which a "
    "flat spectrum has 3.47 and a single wave 2.52. Both are shown."
)


def plan(scale: Scale) -> Plan:
    """Base runs and their tickets, with checkpoints."""
    return runs.runs(scale, "add", runs.ticket(scale))


def draw(sweep: Sweep) -> dict[str, go.Figure]:
    """Entropy over training, in the plain definition and in the code's."""
    groups = {
        "base run": chosen(sweep, stage="base"),
        "grokked ticket": chosen(sweep, stage="ticket"),
    }
    return {
        "entropy": analysis_figure(groups, "entropy"),
        "paper-code": analysis_figure(groups, "entropy", definition="paper-code"),
    }


def _at(of_run: float) -> Any:
    """The mean entropy of the input side, that far into the run."""

    def value(dataset: xr.Dataset) -> float:
        step = nearest(dataset.step.to_numpy().tolist(), round(float(dataset.step[-1]) * of_run))
        return float(dataset.input_entropy.sel(step=step))

    return value


_CODE = {"definition": "paper-code"}
CLAIMS = (
    Claim(
        "falls",
        "The Fourier entropy of the base run falls as it generalizes.",
        "v2, figure 5",
        "entropy at the last step over that at step 0 (plain definition)",
        below(0.8, "log"),
        over(answer("entropy", _at(1.0), stage="base"), answer("entropy", _at(0.0), stage="base")),
    ),
    Claim(
        "falls-in-their-code",
        "The same in the authors' definition.",
        "v2, figure 5, as their code computes it",
        "that measure at the last step, base run",
        below(3.2),
        answer("entropy", _at(1.0), options=_CODE, stage="base"),
        "about 3.0, from 3.46",
    ),
    Claim(
        "earlier-in-the-ticket",
        "In the ticket it falls much earlier.",
        "v2, figure 5; v3, figure 8",
        "entropy at step 2,000: the ticket's over the base run's (plain definition)",
        below(1, "log"),
        over(
            answer("entropy", _at(1 / 15), stage="ticket"),
            answer("entropy", _at(1 / 15), stage="base"),
        ),
    ),
)
