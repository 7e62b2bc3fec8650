"""The entropy of the neurons' spectra falls with generalization, and much earlier in the ticket."""

from typing import Any

from mechgrok.analyses import papers
from mechgrok.analyses.papers.minegishi2023 import shared
from mechgrok.sweeps import Plan, Sweep

ALSO = ("v3-fig8-top",)
SETTINGS = (
    "The text defines an entropy of normalized spectra without specifying amplitude or power. The "
    "authors' code uses amplitudes at ω = 1 … 32 and −Σ q ln softmax(q), which is 3.47 for a flat "
    "spectrum and 2.52 for a single wave. The figures show both."
)


def plan(scale: papers.Scale) -> Plan:
    """Base runs and their tickets, with checkpoints."""
    return scale.plan("add", shared.ticket(scale))


def draw(sweep: Sweep) -> papers.Figures:
    """Entropy over training, in the plain definition and in that of the code."""
    return {
        "entropy": papers.analysis_figure(sweep, shared.PAIR, "entropy"),
        "paper-code": papers.analysis_figure(
            sweep, shared.PAIR, "entropy", definition="paper-code"
        ),
    }


def _entropy(at: float, stage: str, **options: Any) -> papers.Quantity:
    """The mean entropy of the input side, at a share of the run."""
    return papers.answer(
        "entropy", lambda ds: ds.input_entropy, at=at, options=options, stage=stage
    )


CLAIMS = {
    "falls": papers.Claim(
        "The Fourier entropy of the base run falls as it generalizes.",
        "v2, figure 5",
        "entropy at the last step over that at step 0 (plain definition)",
        papers.below(0.8, "log"),
        _entropy(1, "base") / _entropy(0, "base"),
    ),
    "falls-in-their-code": papers.Claim(
        "The same in the authors' definition.",
        "v2, figure 5, as their code computes it",
        "that measure at the last step, base run",
        papers.below(3.2),
        _entropy(1, "base", definition="paper-code"),
        "about 3.0, from 3.46",
    ),
    "earlier-in-the-ticket": papers.Claim(
        "In the ticket it falls much earlier.",
        "v2, figure 5; v3, figure 8",
        "entropy at step 2,000: the ticket's over the base run's (plain definition)",
        papers.below(1, "log"),
        _entropy(1 / 30, "ticket") / _entropy(1 / 30, "base"),
    ),
}
