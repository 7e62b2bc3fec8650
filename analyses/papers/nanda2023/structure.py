"""A few key frequencies carry the network, and its Fourier components become sparse."""

import xarray as xr

from mechgrok.analyses import papers
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "As in phases. Key frequencies are those whose cosine in the last logits has at least twice "
    "the mean coefficient; the paper finds five of 56."
)


def plan(scale: papers.Scale) -> Plan:
    """The transformers."""
    return scale.plan("add")


def draw(sweep: Sweep) -> papers.Figures:
    """The spectra of the weights."""
    groups = {"transformer": {"network": "add"}}
    return {"fourier": papers.analysis_figure(sweep, groups, "fourier")}


def _gini_rise(side: str) -> papers.Quantity:
    """The Gini coefficient at the end less that at step 0."""

    def rise(dataset: xr.Dataset) -> float:
        gini = dataset[f"gini_{side}"]
        return float(gini[-1] - gini[0])

    return papers.answer("progress", rise)


def _few(dataset: xr.Dataset) -> float:
    """Key frequencies as a share of all frequencies."""
    return len(dataset.key) / (len(dataset.frequency) - 1)


def _ablated(dataset: xr.Dataset) -> float:
    """Restricted loss over all pairs, over test loss, at the end."""
    last = dataset.isel(step=-1)
    return float(last.restricted_loss / last.test_loss)


CLAIMS = {
    "few-frequencies": papers.Claim(
        "The network uses few key frequencies.",
        "section 4",
        "key frequencies as a share of all",
        papers.below(0.25),
        papers.answer("progress", _few, papers.A_SHARE),
        "5 / 56 = 9 %",
    ),
    "explain-the-logits": papers.Claim(
        "Cosines of the key frequencies explain nearly all of the logits' variance.",
        "section 4",
        "share of the variance of the last logits",
        papers.above(0.9),
        papers.answer("progress", lambda dataset: float(dataset.explained[-1]), papers.A_SHARE),
        "95 %",
    ),
    "embedding-sparse": papers.Claim(
        "The embedding becomes sparse in the Fourier basis.",
        "section 5, progress measures",
        "Gini coefficient of the embedding's Fourier norms, at the end less that at step 0",
        papers.above(0),
        _gini_rise("embedding"),
    ),
    "output-sparse": papers.Claim(
        "The neurons' map to the logits becomes sparse in the Fourier basis.",
        "section 5, progress measures",
        "the same of W_out W_U",
        papers.above(0),
        _gini_rise("output"),
    ),
    "ablation-helps": papers.Claim(
        "Without everything but the key frequencies, the network does no worse.",
        "section 4",
        "restricted loss over all pairs, over test loss, at the end",
        papers.below(1, "log"),
        papers.answer("progress", _ablated),
    ),
}
