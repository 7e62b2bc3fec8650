"""Graph metrics over training: paths lengthen and clustering falls as it generalizes."""

from collections.abc import Callable
from typing import Any

import plotly.graph_objects as go
import xarray as xr

from mechgrok.analyses.measures.ranks import rank_correlation
from mechgrok.analyses.papers import runs
from mechgrok.analyses.papers.claims import CORRELATION, Claim, above, below, within
from mechgrok.analyses.papers.figures import analysis_figure
from mechgrok.analyses.papers.quantities import answer, chosen
from mechgrok.analyses.papers.scale import Scale
from mechgrok.sweeps import Plan, Sweep

ALSO = ("v3-fig20",)
SETTINGS = (
    "The paper gives no node count, threshold or weighting of its relational graph, and prints the "
    "bound √(2d − 1) where the graph-theoretic one is 2√(d − 1). Every definition is measured: of "
    "32 nodes with 20 % of the pairs joined; with a threshold that is fixed when the run has "
    "memorized (80 % of the pairs then); weighted; and the graph of single weights above 0.01."
)
#: The definitions: options of `mechgrok analyze graph`, and the metrics that are L and C.
DEFINITIONS: dict[str, tuple[dict[str, Any], str, str]] = {
    "density": ({}, "relational_path_length", "relational_clustering"),
    "threshold": (
        {"relational": "threshold", "density": 0.8},
        "relational_path_length",
        "relational_clustering",
    ),
    "weighted": ({"relational": "weighted"}, "relational_path_length", "relational_clustering"),
    "single weights": ({"above": 0.01}, "path_length", "layer_clustering"),
}


def plan(scale: Scale) -> Plan:
    """Base runs, with checkpoints."""
    return runs.runs(scale, "add")


def draw(sweep: Sweep) -> dict[str, go.Figure]:
    """All metrics in each definition of the graph."""
    groups = {"base run": chosen(sweep, stage="base")}
    look = {"bound": "regular", "signed": True}
    return {
        name.replace(" ", "-"): analysis_figure(
            groups, "graph", look=look, pictures=12 if name == "density" else 0, **options
        )
        for name, (options, _, _) in DEFINITIONS.items()
    }


def _slope(metric: str) -> Callable[[xr.Dataset], float]:
    """Rank correlation of the metric with test accuracy after memorization."""

    def value(dataset: xr.Dataset) -> float:
        after = dataset.isel(step=(dataset.step >= dataset.attrs.get("t_mem", 0)).to_numpy())
        curve = after[metric].mean("weight") if "weight" in after[metric].dims else after[metric]
        return rank_correlation(curve.to_numpy(), after.test_accuracy.to_numpy())

    return value


def _last(metric: str, **at: Any) -> Callable[[xr.Dataset], float]:
    def value(dataset: xr.Dataset) -> float:
        return float(dataset[metric].sel(**at).isel(step=-1).mean())

    return value


def _claims_of(name: str) -> list[Claim]:
    options, length, clustering = DEFINITIONS[name]
    found = []
    for symbol, metric, way in (("L", length, "rises"), ("C", clustering, "falls")):
        options_ = options | {"pictures": 12 if name == "density" else 0}
        found.append(
            Claim(
                f"{symbol}-{way}-{name.replace(' ', '-')}",
                f"{'Path length' if symbol == 'L' else 'Clustering'} {way} with test accuracy "
                f"(definition: {name}).",
                "v3, figure 9",
                f"rank correlation of {symbol} with test accuracy after memorization",
                above(0) if way == "rises" else below(0),
                answer("graph", _slope(metric), options=options_, stage="base"),
                possible=CORRELATION,
            )
        )
    return found


CLAIMS = (
    *(claim for name in DEFINITIONS for claim in _claims_of(name)),
    Claim(
        "L-at-the-end",
        "The average path length ends at about 1.96.",
        "v3, figure 9",
        "L of the graph of weights above 0.01, last step",
        within(1.94, 1.98),
        answer(
            "graph",
            _last("path_length"),
            options={"above": 0.01, "pictures": 0},
            stage="base",
        ),
        "1.96",
    ),
    Claim(
        "ramanujan",
        "The Ramanujan gap at the end is −2.55 to −4.56.",
        "v3, table of figure 20",
        "mean over layers of 2√(d − 1) − λ₁, k = 0.6, last step",
        within(-4.56, -2.55),
        answer(
            "graph",
            _last("ramanujan_gap", bound="regular"),
            options={"pictures": 12},
            stage="base",
        ),
        "−2.55 to −4.56",
    ),
)
