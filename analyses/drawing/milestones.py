"""Panels of memorization and generalization times over the setting that defines the groups.

Medians are Kaplan–Meier estimates with 95 % intervals, or with the range for fewer than six runs.
An open triangle at its last step marks a censored run, which has not reached the milestone.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mechgrok.analyses.drawing.panel import Panel
from mechgrok.analyses.drawing.panels import Panels
from mechgrok.analyses.drawing.steps import round_numbers
from mechgrok.analyses.drawing.style import GREY, group_colors
from mechgrok.grammar import Value, show_value
from mechgrok.sweeps.folder import STAGE
from mechgrok.sweeps.groups import Key, RunGroups
from mechgrok.sweeps.survival import TimeToEvent

_DASHES = ("solid", "dash", "dot", "dashdot")
_SYMBOLS = {
    "t_mem": "square",
    "t_gen": "circle",
    "t_gen_sustained": "diamond",
    "tau_grok": "circle",
}
#: The symbol of censored times.
_CENSORED = "triangle-up-open"


def add_milestones(figure: Panels, family: RunGroups) -> None:
    """Add a row with the milestones over a setting, if a setting has several values.

    The sustained t_gen is among them if a run collapses.

    Args:
        figure: the figure to extend.
        family: the groups; the setting with most values is the axis, and each combination of
            the others is a line.
    """
    names = varied(family)
    if not names:
        return
    along = max(names, key=lambda name: len(values_of(family, name)))
    axis = setting_axis(along, values_of(family, along))
    row = figure.row(height=260, legend=True)
    times = tuple(name for name in family.milestones if name != "tau_grok")
    y = _log_axis(family, times) | {"title": "training step"}
    steps = row.panel("when runs memorize and generalize", x=axis, y=y, width=1.3)
    y = _log_axis(family, ("tau_grok",)) | {"title": "τ_grok = t_gen / t_mem"}
    delay = row.panel("the delay", x=axis, y=y)
    for panel, marks in ((steps, times), (delay, ("tau_grok",))):
        for mark in marks:
            _draw(panel, family, along, mark, is_numeric=axis.get("type") != "category")


def varied(family: RunGroups) -> list[str]:
    """The settings that define the groups and have several values."""
    return [name for name in family.by or () if name != STAGE and len(values_of(family, name)) > 1]


def values_of(family: RunGroups, name: str) -> list[Value]:
    """The values of a setting that defines the groups, in order."""
    at = (family.by or []).index(name)
    return list(dict.fromkeys(key[at] for key in family.groups if key[at] is not None))


def _log_axis(family: RunGroups, marks: Sequence[str]) -> dict[str, Any]:
    """A logarithmic axis for milestones, with a label at every tick."""
    table = family.table.astype({"step": float, "t_mem": float})
    columns = [table[mark].astype(float) for mark in marks]
    columns.append(table["step"] / (table["t_mem"] if "tau_grok" in marks else 1))
    values = np.concatenate([column.to_numpy() for column in columns])
    values = values[np.isfinite(values) & (values > 0)]
    if not values.size:
        return {"type": "log"}
    ticks = round_numbers(np.log10(values.min()) - 0.3, np.log10(values.max()) + 0.3)
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:,g}" for tick in ticks]}


def setting_axis(name: str, values: Sequence[Value]) -> dict[str, Any]:
    """An axis of a setting: logarithmic if that spaces values more evenly, categories for text."""
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) < len(values):
        order = [show_value(value) for value in values]
        ordered = {"categoryorder": "array", "categoryarray": order}
        return {"title": name, "type": "category", **ordered}
    axis: dict[str, Any] = {"title": name}
    if len(numbers) <= 12:
        axis |= {"tickvals": numbers, "ticktext": [show_value(number) for number in numbers]}
    if min(numbers) > 0 and len(numbers) > 2:
        gaps = np.diff(np.array(numbers, dtype=float))
        ratios = np.diff(np.log(np.array(numbers, dtype=float)))
        if ratios.max() / ratios.min() < gaps.max() / gaps.min():
            axis["type"] = "log"
    return axis


def _draw(panel: Panel, family: RunGroups, along: str, mark: str, *, is_numeric: bool) -> None:
    """Draw a milestone: medians with intervals, joined along each line, and single runs."""
    at = (family.by or []).index(along)
    times = family.times[mark]
    colors = group_colors([family.name(key) for key in family.groups])
    lines: dict[Key, list[Key]] = {}
    for key in family.groups:
        if key[at] is not None and times[key].n:
            lines.setdefault((*key[:at], *key[at + 1 :]), []).append(key)
    for number, (rest, keys) in enumerate(lines.items()):
        x = [key[at] if is_numeric else show_value(key[at]) for key in keys]
        shades = [colors[family.name(key)] for key in keys]
        _draw_runs(panel, family, mark, dict(zip(keys, x, strict=True)), shades)
        _draw_medians(panel, mark, [times[key] for key in keys], x, shades, _DASHES[number % 4])
        if len(lines) > 1 and mark == "t_gen":
            others = [name for name in family.by or () if name != along]
            values = (
                f"{n} {show_value(v)}" for n, v in zip(others, rest, strict=True) if v is not None
            )
            line = {"dash": _DASHES[number % 4], "color": GREY, "width": 1.5}
            panel.add(
                "scatter", x=[None], y=[None], mode="lines", line=line, entry=", ".join(values)
            )


def _draw_runs(
    panel: Panel, family: RunGroups, mark: str, x: dict[Key, Any], colors: Sequence[str]
) -> None:
    """Draw every run as a faint point, censored runs as open triangles."""
    points: dict[bool, list[tuple[Any, float, str, str]]] = {True: [], False: []}
    table = family.table[["step", "t_mem", mark]].astype(float)
    for (key, place), color in zip(x.items(), colors, strict=True):
        for label in family.groups[key]:
            last, t_mem, reached = table.loc[[label]].to_numpy()[0].tolist()
            last = last / (t_mem or math.nan) if mark == "tau_grok" else last
            is_reached = not math.isnan(reached)
            points[is_reached].append((place, reached if is_reached else last, color, label))
    for is_reached, rows in points.items():
        if not rows:
            continue
        places, y, shades, labels = zip(*rows, strict=True)
        marker = {"color": list(shades), "size": 5, "symbol": _SYMBOLS[mark]}
        if not is_reached:
            marker |= {"symbol": _CENSORED, "size": 8}
        panel.add(
            "scatter", x=list(places), y=list(y), mode="markers", marker=marker, text=list(labels),
            opacity=0.4 if is_reached else 0.8, key=None if is_reached else "not within the run",
            hover="%{text}<br>" + ("%{y:,.4g}" if is_reached else "> %{y:,.4g}"),
        )  # fmt: skip


def _draw_medians(
    panel: Panel, mark: str, times: Sequence[TimeToEvent], x: Sequence[Any], colors: Any, dash: str
) -> None:
    """Draw medians, their intervals (or the range of few runs), and a grey line through them.

    The line has gaps at censored medians, which are only bounded.
    """
    censored = [math.isinf(time.median) for time in times]
    y = [
        float(time.horizon or math.nan) if is_censored else time.median
        for time, is_censored in zip(times, censored, strict=True)
    ]
    above = [_upper_end(time) - at for time, at in zip(times, y, strict=True)]
    below = [
        0.0 if math.isnan(time.low) or is_censored else at - time.low
        for time, at, is_censored in zip(times, y, censored, strict=True)
    ]
    line = {"color": GREY, "width": 1.5, "dash": dash}
    joined = [None if is_censored else at for at, is_censored in zip(y, censored, strict=True)]
    panel.add("scatter", x=list(x), y=joined, mode="lines", line=line)
    panel.add(
        "scatter", x=list(x), y=y, mode="markers", text=[str(time) for time in times],
        hover="median %{text}",
        marker={
            "color": list(colors), "line": {"width": 1, "color": "white"},
            "size": [14 if is_censored else 10 for is_censored in censored], "opacity": 1,
            "symbol": [_CENSORED if is_censored else _SYMBOLS[mark] for is_censored in censored],
        },
        error_y={
            "array": [max(0.0, size) for size in above], "arrayminus": below, "symmetric": False,
            "type": "data", "color": GREY, "thickness": 1.2, "width": 4,
        },
    )  # fmt: skip
    if mark != "tau_grok":
        marker = {"symbol": _SYMBOLS[mark], "size": 9}
        panel.add(
            "scatter", x=[None], y=[None], mode="lines+markers", line=line, marker=marker,
            key=f"median {mark}",
        )  # fmt: skip


def _upper_end(time: TimeToEvent) -> float:
    """The upper end of an interval; the last step if the end is censored."""
    if math.isnan(time.high):
        return time.median if math.isfinite(time.median) else math.nan
    return time.high if math.isfinite(time.high) else float(time.horizon or math.nan)
