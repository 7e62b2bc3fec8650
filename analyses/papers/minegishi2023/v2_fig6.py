"""The masks of checkpoints become the grokked mask as the network generalizes, in every layer."""

import xarray as xr

from mechgrok.analyses import papers
from mechgrok.analyses.measures.ranks import rank_correlation
from mechgrok.analyses.papers.minegishi2023 import shared
from mechgrok.sweeps import Plan, Sweep


def plan(scale: papers.Scale) -> Plan:
    """Base runs, with checkpoints."""
    return scale.plan("add")


def draw(sweep: Sweep) -> papers.Figures:
    """Jaccard similarity to the last mask over training, per layer."""
    return {"similarity": papers.analysis_figure(sweep, shared.BASE, "similarity")}


def _rank_correlation(dataset: xr.Dataset) -> float:
    """The rank correlation of similarity and test accuracy over checkpoints."""
    similarity = dataset.similarity.sel(layer="all").to_numpy()
    return rank_correlation(similarity, dataset.test_accuracy.to_numpy())


def _rise_before_t_gen(dataset: xr.Dataset) -> float:
    """Similarity at the last checkpoint before t_gen minus that at step 0."""
    t_gen = dataset.attrs.get("t_gen", float("nan"))
    early = dataset.similarity.sel(layer="all")[dataset.step < t_gen]
    return float(early[-1] - early[0]) if early.size else float("nan")


CLAIMS = {
    "rises-with-accuracy": papers.Claim(
        "Similarity to the grokked mask rises with test accuracy.",
        "v2, figure 6",
        "rank correlation of Jaccard similarity and test accuracy over checkpoints",
        papers.above(0.5),
        papers.answer("similarity", _rank_correlation, papers.CORRELATION, stage="base"),
    ),
    "rises-before": papers.Claim(
        "The good mask is being found before the network generalizes.",
        "v2, figure 6",
        "Jaccard similarity at the last checkpoint before t_gen less that at step 0",
        papers.above(0.1),
        papers.answer("similarity", _rise_before_t_gen, stage="base"),
    ),
}
