"""The page of a comparison of precursors: a row per measure, with its curves for both outcomes."""

import math
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from jaxtyping import Float
from markupsafe import Markup

from mechgrok.analyses.drawing.style import COLORS, GREY, TEMPLATE
from mechgrok.analyses.precursors.comparison import BASELINES, SORTED_AT, Precursors
from mechgrok.analyses.precursors.curves import Curve, Measured
from mechgrok.analyses.precursors.outcomes import Outcomes
from mechgrok.formatting import number
from mechgrok.reports.page import untitled, write_page

#: The colours of runs that generalize and runs that do not.
_GENERALIZE, _NOT = COLORS[0], COLORS[1]
#: Width and height of a sparkline, and its number of points.
_WIDTH, _HEIGHT, _POINTS = 150, 36, 50
#: The sections of the page: name, what its measures have in common.
_SECTIONS = {
    "without-labels": "Measures that need no labels of the test set.",
    "with-labels": "Measures that use labels of the test set.",
    "hindsight": "Measures that use later checkpoints of the run, for example the frequencies of "
    "the last one. They cannot be known at their step, so they are no precursors, and their values "
    "may reveal the outcome.",
}


def write_precursors(result: Precursors, measured: Measured, top: int) -> None:
    """Write the page of a comparison.

    Args:
        result: the comparison.
        measured: the curves.
        top: the number of measures in the figure.
    """
    rows = [_row(name, group, measured, result.outcomes) for name, group in _by_measure(result)]
    sections = {
        title: {"about": about, "rows": [row for row in rows if row["section"] == title]}
        for title, about in _SECTIONS.items()
    }
    figure, _ = untitled(_figure(result, top))
    contents = {title: not section["rows"] for title, section in sections.items()}
    excluded = [f"{run} is left out: {why}." for run, why in result.outcomes.excluded.items()]
    write_page(
        result.path,
        Path(__file__).with_name("precursors.html"),
        title="Precursors of generalization",
        contents={"runs": False, "figure": False} | contents,
        figures={"figure": figure},
        footer=f"Made by mechgrok precursors on {datetime.now().astimezone():%Y-%m-%d %H:%M}.",
        result=result,
        excluded=excluded,
        sections=sections,
        shares=[f"{share:.0%}" for share in sorted(result.table.share.unique())],
        colors=(_GENERALIZE, _NOT),
    )


def _by_measure(result: Precursors) -> list[tuple[Any, pd.DataFrame]]:
    """The rows of each measure, in the order of the table."""
    return list(result.table.groupby("measure", sort=False))


def _row(name: str, group: pd.DataFrame, measured: Measured, outcomes: Outcomes) -> dict[str, Any]:
    """The cells of one measure."""
    group = group.sort_values("share")
    at = group[group.share == SORTED_AT].iloc[0]
    labels = "with-labels" if at.uses_test_labels else "without-labels"
    return {
        "section": "hindsight" if at.hindsight else labels,
        "measure": name,
        "definition": at.definition,
        "baseline": at.baseline,
        "sparkline": sparkline(measured.curves[name], outcomes),
        "aurocs": [_interval(row) for row in group.itertuples()],
        "cells": [
            *("< 0.001" if at[p] < 0.0005 else _decimals(at[p], 3) for p in ("p", "p_family")),
            _decimals(at.outcome_given_l2),
            _decimals(at.rho),
            _decimals(at.rho_given_l2),
            *(_share(at[column]) for column in ("onset_before_t_gen", "onset_without")),
            "—" if math.isnan(at.lead) else f"{number(at.lead)} ({at.log10_lead:.1f})",
            _share(at.false_alarms),
            _decimals(at.seconds, 3),
        ],
        "experiment": (at.ratio, at.effect),
    }


def _interval(row: Any) -> str:
    if math.isnan(row.auroc):
        return "—"
    return f"{row.auroc:.2f} [{row.low:.2f}, {row.high:.2f}]"


def _decimals(value: float, n: int = 2) -> str:
    return "—" if math.isnan(value) else f"{value:.{n}f}"


def _share(value: float) -> str:
    return "—" if math.isnan(value) else f"{value:.0%}"


def sparkline(curves: Mapping[str, Curve], outcomes: Outcomes) -> Markup:
    """An SVG of median and quartiles over runs, for both outcomes, over log steps."""
    first = max(1, *(int(curve.steps[curve.steps > 0].min(initial=1)) for curve in curves.values()))
    steps = np.geomspace(min(first, outcomes.horizon), outcomes.horizon, _POINTS)
    bands = {}
    for color, is_chosen in ((_NOT, ~outcomes.generalizes), (_GENERALIZE, outcomes.generalizes)):
        chosen = [
            curves[run]
            for run, chosen in zip(outcomes.names, is_chosen, strict=True)
            if chosen and run in curves
        ]
        values = np.array([[curve.at(step) for step in steps] for curve in chosen])
        if values.size and not np.isnan(values).all():
            known = ~np.isnan(values).all(0)
            quartiles = np.full((3, _POINTS), math.nan)
            quartiles[:, known] = np.nanquantile(values[:, known], [0.25, 0.5, 0.75], axis=0)
            bands[color] = quartiles
    if not bands:
        return Markup("—")
    low = min(np.nanmin(band) for band in bands.values())
    high = max(np.nanmax(band) for band in bands.values())
    return Markup(
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="from {low:.3g} to '
        f'{high:.3g}"><title>{low:.3g} … {high:.3g}</title>'
        + "".join(_shapes(band, color, low, high) for color, band in bands.items())
        + "</svg>"
    )


def _shapes(band: Float[np.ndarray, "3 point"], color: str, low: float, high: float) -> str:
    """A polygon between the quartiles and a line at the median."""
    x = np.linspace(1, _WIDTH - 1, _POINTS)
    y = _HEIGHT - 2 - (_HEIGHT - 4) * (band - low) / (high - low if high > low else 1)
    known = ~np.isnan(y).any(0)

    def points(x: Any, y: Any) -> str:
        return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))

    lower, median, upper = y[:, known]
    x = x[known]
    outline = points([*x, *x[::-1]], [*lower, *upper[::-1]])
    return (
        f'<polygon points="{outline}" fill="{color}" fill-opacity="0.2"/>'
        f'<polyline points="{points(x, median)}" fill="none" stroke="{color}" stroke-width="1.5"/>'
    )


def _figure(result: Precursors, top: int) -> go.Figure:
    """AUROC by share of the horizon, of the most informative measures and the baselines."""
    shown = [name for name in result.top(top).measure if name not in BASELINES]
    dashes = dict(zip(BASELINES, ("dash", "dot", "dashdot"), strict=True))
    layout = {"template": TEMPLATE, "height": 500, "legend": {"y": -0.25}, "margin": {"b": 130}}
    figure = go.Figure(layout=layout)
    groups = dict(_by_measure(result))
    for name in [*shown, *(name for name in BASELINES if name in groups)]:
        group = groups[name].sort_values("share")
        line = {"color": GREY, "dash": dashes[name]} if name in dashes else {}
        figure.add_scatter(
            x=group.share,
            y=group.auroc,
            error_y={
                "type": "data",
                "array": group.high - group.auroc,
                "arrayminus": group.auroc - group.low,
                "thickness": 0.7,
            },
            mode="lines+markers",
            name=name,
            line=line,
            hovertemplate="%{y:.2f} at %{x:.0%}",
        )
    figure.update_xaxes(type="log", title="share of the horizon", tickformat=".0%")
    figure.update_xaxes(tickvals=sorted(result.table.share.unique()))
    return figure.update_yaxes(title="AUROC of generalizing", range=[-0.03, 1.03])
