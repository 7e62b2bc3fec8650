"""The masks of checkpoints become the grokked mask as the network generalizes, in every layer."""

import plotly.graph_objects as go
import xarray as xr

from mechgrok.analyses.measures.ranks import rank_correlation
from mechgrok.analyses.papers import runs
from mechgrok.analyses.papers.claims import CORRELATION, Claim, above
from mechgrok.analyses.papers.figures import analysis_figure
from mechgrok.analyses.papers.quantities import answer, chosen
from mechgrok.analyses.papers.scale import Scale
from mechgrok.sweeps import Plan, Sweep


def plan(scale: Scale) -> Plan:
    """Base runs, with checkpoints."""
    return runs.runs(scale, "add")


def draw(sweep: Sweep) -> dict[str, go.Figure]:
    """Jaccard similarity to the last mask over training, per layer."""
    groups = {"base run": chosen(sweep, stage="base")}
    return {"similarity": analysis_figure(groups, "similarity")}


def _rank_correlation(dataset: xr.Dataset) -> float:
    """Of similarity and test accuracy, over checkpoints."""
    whole = dataset.similarity.sel(layer="all").to_numpy()
    return rank_correlation(whole, dataset.test_accuracy.to_numpy())


def _before(dataset: xr.Dataset) -> float:
    """Similarity at the last checkpoint before t_gen less that at step 0."""
    t_gen = dataset.attrs.get("t_gen", float("nan"))
    whole = dataset.similarity.sel(layer="all")
    early = whole[dataset.step < t_gen]
    return float(early[-1] - early[0]) if early.size else float("nan")


CLAIMS = (
    Claim(
        "rises-with-accuracy",
        "Similarity to the grokked mask rises with test accuracy.",
        "v2, figure 6",
        "rank correlation of Jaccard similarity and test accuracy over checkpoints",
        above(0.5),
        answer("similarity", _rank_correlation, stage="base"),
        possible=CORRELATION,
    ),
    Claim(
        "rises-before",
        "The good mask is being found before the network generalizes.",
        "v2, figure 6",
        "Jaccard similarity at the last checkpoint before t_gen less that at step 0",
        above(0.1),
        answer("similarity", _before, stage="base"),
    ),
)
