"""Graph metrics over training: paths lengthen and clustering falls during generalization."""

from collections.abc import Callable
from typing import Any

import xarray as xr

from mechgrok.analyses import papers
from mechgrok.analyses.measures.ranks import rank_correlation
from mechgrok.analyses.papers.minegishi2023 import shared
from mechgrok.sweeps import Plan, Sweep

ALSO = ("v3-fig20",)
SETTINGS = (
    "The paper gives no node count, threshold or weighting of its relational graph, and prints the "
    "bound √(2d − 1) where the graph-theoretic one is 2√(d − 1). The figures cover every "
    "definition: 32 nodes with 20 % of the pairs connected; a threshold fixed at memorization "
    "(80 % of the pairs then); weighted; and the graph of single weights above 0.01."
)
#: Options of `mechgrok analyze graph`, by the definition of the graph.
DEFINITIONS: dict[str, dict[str, Any]] = {
    "density": {"pictures": 12},
    "threshold": {"relational": "threshold", "density": 0.8, "pictures": 0},
    "weighted": {"relational": "weighted", "pictures": 0},
    "single weights": {"above": 0.01, "pictures": 0},
}


def plan(scale: papers.Scale) -> Plan:
    """Base runs, with checkpoints."""
    return scale.plan("add")


def draw(sweep: Sweep) -> papers.Figures:
    """All metrics in each definition of the graph, of at most six seeds (as many as fit)."""
    drawing = {"bound": "regular", "signed": True}
    seeds = list(dict.fromkeys(member.settings["seed"] for member in sweep.members))[:6]
    groups = {name: {**settings, "seed": seeds} for name, settings in shared.BASE.items()}
    return {
        name.replace(" ", "-"): papers.analysis_figure(
            sweep, groups, "graph", drawing=drawing, **options
        )
        for name, options in DEFINITIONS.items()
    }


def _correlation(metric: str) -> Callable[[xr.Dataset], float]:
    """Rank correlation of the metric with test accuracy after memorization."""

    def value(dataset: xr.Dataset) -> float:
        after = dataset.isel(step=(dataset.step >= dataset.attrs.get("t_mem", 0)).to_numpy())
        curve = after[metric].mean("weight") if "weight" in after[metric].dims else after[metric]
        return rank_correlation(curve.to_numpy(), after.test_accuracy.to_numpy())

    return value


def _claims(definition: str) -> dict[str, papers.Claim]:
    """The claims that path length L rises, and clustering C falls, with test accuracy."""
    single = definition == "single weights"
    path_length = "path_length" if single else "relational_path_length"
    clustering = "layer_clustering" if single else "relational_clustering"
    return {
        f"{symbol}-{direction}-{definition.replace(' ', '-')}": papers.Claim(
            f"{name} {direction} with test accuracy (definition: {definition}).",
            "v3, figure 9",
            f"rank correlation of {symbol} with test accuracy after memorization",
            rule,
            _graph(_correlation(metric), definition, papers.CORRELATION),
            statement=f"{symbol}-{direction}",
        )
        for symbol, name, metric, direction, rule in (
            ("L", "Path length", path_length, "rises", papers.above(0)),
            ("C", "Clustering", clustering, "falls", papers.below(0)),
        )
    }


def _graph(value: Any, definition: str, *possible: papers.Bounds, **more: Any) -> papers.Quantity:
    """A number from the graph of the base run in one of the definitions."""
    options = DEFINITIONS[definition]
    return papers.answer("graph", value, *possible, options=options, stage="base", **more)


CLAIMS = {
    **{name: claim for definition in DEFINITIONS for name, claim in _claims(definition).items()},
    "L-at-the-end": papers.Claim(
        "The average path length ends at about 1.96.",
        "v3, figure 9",
        "L of the graph of weights above 0.01, last step",
        papers.within(1.94, 1.98),
        _graph(lambda dataset: dataset.path_length.mean(), "single weights", at=1),
        "1.96",
    ),
    "ramanujan": papers.Claim(
        "The Ramanujan gap at the end is −2.55 to −4.56.",
        "v3, table of figure 20",
        "mean over layers of 2√(d − 1) − λ₁, k = 0.6, last step",
        papers.within(-4.56, -2.55),
        _graph(lambda dataset: dataset.ramanujan_gap.sel(bound="regular").mean(), "density", at=1),
        "−2.55 to −4.56",
    ),
}
