"""Phase diagrams (Liu et al. 2022) over two swept settings, with medians of the milestones."""

import math
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from mechgrok.analyses.drawing.milestones import values_of, varied
from mechgrok.analyses.drawing.panels import Panels
from mechgrok.analyses.drawing.style import COLORS, DEAD, SEQUENTIAL
from mechgrok.grammar import show_value
from mechgrok.sweeps.groups import Key, RunGroups
from mechgrok.sweeps.phases import DELAY, PHASES, Phase, commonest, phase_of

_COLORS = dict(zip(PHASES, (COLORS[2], COLORS[0], COLORS[3], COLORS[4], DEAD), strict=True))
_STEPPED = [
    [(at + end) / len(PHASES), color] for at, color in enumerate(_COLORS.values()) for end in (0, 1)
]
_SHOWN = {"t_gen": "median t_gen", "t_mem": "median t_mem", "tau_grok": "median τ_grok"}


def add_phases(figure: Panels, family: RunGroups) -> None:
    """Add a row of phase diagrams with a menu of quantities, if two settings vary.

    Args:
        figure: the figure to extend.
        family: the groups; the two settings with most values are the axes, and each combination of
            the others has a diagram.
    """
    names = varied(family)
    if len(names) < 2:
        return
    x, y = sorted(names, key=lambda name: -len(values_of(family, name)))[:2]
    rest = [name for name in names if name not in (x, y)]
    row = figure.row(height=300, legend=True)
    limits = {mark: _limits(family, mark) for mark in _SHOWN}
    for values in list(product(*(values_of(family, name) for name in rest)))[:4]:
        chosen = dict(zip(rest, values, strict=True))
        others = "".join(f"; {name} {show_value(value)}" for name, value in chosen.items())
        panel = row.panel(
            f"phases (grokking: t_gen − t_mem ≥ {DELAY:,}){others}",
            x={"title": x, "type": "category"},
            y={"title": y, "type": "category"},
        )
        cells = _cells(family, x, y, chosen)
        places: dict[str, Any] = {
            "x": [show_value(value) for value in values_of(family, x)],
            "y": [show_value(value) for value in values_of(family, y)],
        }
        scale: dict[str, Any] = {"colorscale": _STEPPED, "zmin": -0.5, "zmax": len(PHASES) - 0.5}
        choices = {"phase": _map(cells, partial(_phase, family), **scale)}
        for mark, name in _SHOWN.items():
            low, high = limits[mark]
            scale = {"colorscale": SEQUENTIAL, "zmin": low, "zmax": high}
            choices[name] = _map(cells, partial(_median, family, mark=mark), **scale)
        panel.add(
            "heatmap", **places, choices=choices, showscale=False, xgap=2, ygap=2,
            texttemplate="%{text}", hover=f"{x} %{{x}}, {y} %{{y}}<br>%{{hovertext}}",
        )  # fmt: skip
        for phase, color in _COLORS.items():
            if phase == "collapsed" and not family.has_collapses:
                continue
            marker = {"symbol": "square", "size": 12, "color": color}
            panel.add("scatter", x=[None], y=[None], mode="markers", marker=marker, entry=phase)


def _cells(family: RunGroups, x: str, y: str, chosen: dict[str, Any]) -> list[list[Key | None]]:
    """The group in each cell, ``[y][x]``; None for an empty cell."""
    by = family.by or []
    group_at = {tuple(k[by.index(name)] for name in (x, y, *chosen)): k for k in family.groups}
    rest = tuple(chosen.values())
    return [
        [group_at.get((across, up, *rest)) for across in values_of(family, x)]
        for up in values_of(family, y)
    ]


def _map(
    cells: list[list[Key | None]], content: Callable[[Key], tuple[float, str, str]], **scale: Any
) -> dict[str, Any]:
    """The attributes of a heat map: number, text and hover text of each cell, and the scale."""
    rows = [[(math.nan, "", "") if k is None else content(k) for k in line] for line in cells]
    z, text, hover = ([[cell[at] for cell in line] for line in rows] for at in range(3))
    return {"z": z, "text": text, "hovertext": hover, **scale}


def _phase(family: RunGroups, key: Key) -> tuple[float, str, str]:
    """The index of the most common phase, its share of the runs, and the count of each phase."""
    table = family.table.loc[family.groups[key]]
    reached = (
        [None if value != value else float(value) for value in table[mark].astype(float)]
        for mark in ("t_mem", "t_gen", "t_gen_sustained")
    )
    phases: list[Phase] = [phase_of(*steps) for steps in zip(*reached, strict=True)]
    most, n = commonest(phases)
    details = ", ".join(f"{phases.count(p)} {p}" for p in PHASES if p in phases)
    return PHASES.index(most), f"{n}/{len(phases)}", details


def _median(family: RunGroups, key: Key, mark: str) -> tuple[float, str, str]:
    """The logarithm of a milestone's median, the median, and its interval."""
    time = family.times[mark][key]
    is_positive = math.isfinite(time.median) and time.median > 0
    shade = math.log10(time.median) if is_positive else math.nan
    return shade, str(time).partition(" [")[0], str(time)


def _limits(family: RunGroups, mark: str) -> tuple[float, float]:
    """The smallest and largest logarithm of the medians."""
    medians = [time.median for time in family.times[mark].values()]
    finite = np.log10([m for m in medians if math.isfinite(m) and m > 0] or [1.0])
    return float(finite.min()), float(max(finite.max(), finite.min() + 0.1))
