"""Marks on panels over training: milestones and phases of the runs, and tinted intervals."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from mechgrok.analyses.drawing.groups import median_milestone
from mechgrok.analyses.drawing.panel import Panel, axis_id
from mechgrok.analyses.drawing.steps import StepAxis

if TYPE_CHECKING:
    from mechgrok.analyses.drawing.panels import Panels

#: Plotly shapes or annotations.
Marks = list[dict[str, Any]]

_DASHES = {"t_mem": "dot", "t_gen": "dash", "t_collapse": "longdashdot"}
_PHASE, _PHASE_COLOR = "phase", "#999999"
#: A white outline around letters drawn on curves.
_HALO = ", ".join(["0px 0px 2px white"] * 4)
#: Height and width of a line's name in pixels.
_NAME_HEIGHT, _NAME_WIDTH = 38, 13


def all_milestones(figure: "Panels", labels: Iterable[str]) -> list[tuple[str, int, str]]:
    """Name, step and colour of each milestone reached by a run, or by the median of a group.

    The beginning of a phase is a milestone, too, once for all runs with a phase from that step.
    """
    members: dict[str, list[str]] = {}
    for label in labels:
        members.setdefault(figure.groups.get(label, label), []).append(label)
    milestones = []
    for group in members.values():
        for mark in _DASHES:
            at = median_milestone([figure.measured[label] for label in group], mark)
            if at is not None and at >= 0:
                milestones.append((mark, int(at), figure.run_colors[group[-1]]))
    attributes = [figure.measured[label].attrs for group in members.values() for label in group]
    phases = {
        int(at) for attrs in attributes for name, at in attrs.items() if name.startswith("phase_")
    }
    return [*milestones, *((_PHASE, at, _PHASE_COLOR) for at in phases)]


def milestone_lines(
    panel: Panel, axis: StepAxis, pixels: float, named: bool
) -> tuple[Marks, Marks]:
    """Lines at t_mem (dotted), t_gen (dashed), the first collapse and phases, and their names.

    Args:
        panel: a panel over training.
        axis: the axis of training steps.
        pixels: the panel's width.
        named: whether to name the lines where names fit; with more than four runs, only the
            first line of each kind.
    """
    milestones = all_milestones(panel.figure, panel.milestones_of)
    has_few_runs = len({color for mark, _, color in milestones if mark in _DASHES}) <= 4
    # Names of close lines are stacked: the horizontal positions of the names at each height.
    heights: list[list[float]] = [[] for _ in range(int((panel.row.height - 20) / _NAME_HEIGHT))]
    references = _axis_references(panel)
    lines, names, named_marks = [], [], set()
    for step, mark, color in sorted((step, mark, color) for mark, step, color in milestones):
        color = color if len(panel.figure.measured) > 1 or mark == _PHASE else "#555555"
        x, at = float(axis.place(step)), pixels * axis.share(step)
        line = {"color": color, "dash": _DASHES.get(mark), "width": 0.8 if mark == _PHASE else 1.2}
        lines.append(
            {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "line": line, **references}
        )
        free = [k for k, near in enumerate(heights) if all(abs(at - x) > _NAME_WIDTH for x in near)]
        if named and free and (has_few_runs or mark not in named_marks):
            named_marks.add(mark)
            heights[free[0]].append(at)
            font = {"size": 11, "color": color, "shadow": _HALO}
            name: dict[str, Any] = {"text": mark, "font": font}
            name |= {"x": np.log10(x) if axis.log else x, "xanchor": "right", "yanchor": "top"}
            name |= {"y": 1, "yshift": -_NAME_HEIGHT * free[0], "textangle": -90}
            names.append({**name, "showarrow": False, **references})
    return lines, names


def bands(panel: Panel, axis: StepAxis) -> tuple[Marks, Marks]:
    """The panel's tinted intervals of training, and their names."""
    tints, names = [], []
    references = _axis_references(panel)
    for first, last, color, text in panel.bands:
        start, end = axis.place([first, last]).tolist()
        tint = {"type": "rect", "x0": start, "x1": end, "y0": 0, "y1": 1, "layer": "below"}
        style = {"fillcolor": color, "opacity": 0.1, "line": {"width": 0}}
        tints.append(tint | style | references)
        if text:
            name = {"text": text, "textangle": -90, "font": {"size": 11, "color": color}}
            name |= {"x": float(axis.shade(first)), "xanchor": "left", "showarrow": False}
            names.append(name | {"y": 0, "yanchor": "bottom"} | references)
    return tints, names


def _axis_references(panel: Panel) -> dict[str, str]:
    """Plotly's references to the panel's step axis and to its height."""
    x, y = axis_id("x", panel.number), axis_id("y", panel.number)
    return {"xref": x, "yref": f"{y} domain"}
