"""Marks on panels over training: milestones and phases of the runs, and tinted intervals."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mechgrok.analyses.drawing.groups import median_milestone
from mechgrok.analyses.drawing.panel import Panel, axis_id
from mechgrok.analyses.drawing.steps import StepAxis
from mechgrok.analyses.drawing.text import text_width

if TYPE_CHECKING:
    from mechgrok.analyses.drawing.panels import Panels

#: Plotly shapes or annotations.
Marks = list[dict[str, Any]]

_DASHES = {"t_mem": "dot", "t_gen": "dash", "t_collapse": "longdashdot"}
_PHASE, _PHASE_COLOR = "phase", "#999999"
#: Height in pixels of a milestone's name above a panel, and the most names above one another.
LABEL, _MOST = 14.0, 3


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


def milestone_lines(panel: Panel, axis: StepAxis) -> Marks:
    """Lines at t_mem (dotted), t_gen (dashed), the first collapse, and phases."""
    lines, references = [], _axis_references(panel)
    for mark, step, color in _milestones_of(panel):
        x = float(axis.place(step))
        line = {"color": color, "dash": _DASHES.get(mark), "width": 0.8 if mark == _PHASE else 1.2}
        lines.append(
            {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "line": line, **references}
        )
    return lines


def milestone_labels(panel: Panel, axis: StepAxis, pixels: float) -> Marks:
    """The names of the lines above a panel of this width, stacked where lines are close.

    With more than four runs, only the first line of each kind has a name.
    """
    milestones = _milestones_of(panel)
    has_few_runs = len({color for mark, _, color in milestones if mark in _DASHES}) <= 4
    ends, labels, named = [float("-inf")] * _MOST, [], set()
    for mark, step, color in milestones:
        half = text_width(mark, 11) / 2 + 2
        at = pixels * axis.share(step)
        middle = min(max(at, half - 20), pixels + 10 - half)
        free = [level for level, end in enumerate(ends) if end <= middle - half]
        if not free or (mark in named and not has_few_runs):
            continue
        named.add(mark)
        ends[free[0]] = middle + half
        label: dict[str, Any] = {"text": mark, "font": {"size": 11, "color": color}}
        label |= {"x": float(axis.shade(step)), "xanchor": "center", "xshift": middle - at}
        label |= {"y": 1, "yanchor": "bottom", "yshift": LABEL * free[0], "showarrow": False}
        labels.append(label | {"borderpad": 0} | _axis_references(panel))
    return labels


def _milestones_of(panel: Panel) -> list[tuple[str, int, str]]:
    """The milestones of the panel's runs in the order of steps, grey for a single run."""
    is_alone = len(panel.figure.measured) < 2
    milestones = all_milestones(panel.figure, panel.milestones_of)
    return [
        (mark, step, "#555555" if is_alone and mark != _PHASE else color)
        for mark, step, color in sorted(milestones, key=lambda milestone: milestone[1])
    ]


def bands(panel: Panel, axis: StepAxis) -> Marks:
    """The panel's tinted intervals of training."""
    tints, references = [], _axis_references(panel)
    for first, last, color in panel.bands:
        start, end = axis.place([first, last]).tolist()
        tint = {"type": "rect", "x0": start, "x1": end, "y0": 0, "y1": 1, "layer": "below"}
        style = {"fillcolor": color, "opacity": 0.1, "line": {"width": 0}}
        tints.append(tint | style | references)
    return tints


def _axis_references(panel: Panel) -> dict[str, str]:
    """Plotly's references to the panel's step axis and to its height."""
    x, y = axis_id("x", panel.number), axis_id("y", panel.number)
    return {"xref": x, "yref": f"{y} domain"}
