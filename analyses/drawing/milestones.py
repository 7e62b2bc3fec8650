"""When groups of runs memorize and generalize, over the setting that makes the groups.

Medians are Kaplan and Meier's, with 95 % intervals, or with the range of fewer than six runs. A run
that did not get there stands as an open triangle at its last step: it is known to be later.
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
_SYMBOLS = {"t_mem": "square", "t_gen": "circle", "tau_grok": "circle"}
#: Of what is later than the run is long.
_CENSORED = "triangle-up-open"


def add_milestones(figure: Panels, family: RunGroups) -> None:
    """A row: t_mem and t_gen over a setting, and τ_grok; nothing where no setting has two values.

    Args:
        figure: whose next row it is.
        family: the groups; the setting with most values goes along the axis, and combinations of
            the others are lines of their own.
    """
    names = varied(family)
    if not names:
        return
    along = max(names, key=lambda name: len(values_of(family, name)))
    axis = setting_axis(along, values_of(family, along))
    row = figure.row(height=260, legend=True)
    y = _log_axis(family, ("t_mem", "t_gen")) | {"title": "training step"}
    steps = row.panel("when runs memorize and generalize", x=axis, y=y, width=1.3)
    y = _log_axis(family, ("tau_grok",)) | {"title": "τ_grok = t_gen / t_mem"}
    delay = row.panel("the delay", x=axis, y=y)
    for panel, marks in ((steps, ("t_mem", "t_gen")), (delay, ("tau_grok",))):
        for mark in marks:
            _draw(panel, family, along, mark, is_numeric=axis.get("type") != "category")


def varied(family: RunGroups) -> list[str]:
    """The settings that make the groups and have several values."""
    return [name for name in family.by or () if name != STAGE and len(values_of(family, name)) > 1]


def values_of(family: RunGroups, name: str) -> list[Value]:
    """The values of one of the settings that make the groups, in order."""
    at = (family.by or []).index(name)
    return list(dict.fromkeys(key[at] for key in family.groups if key[at] is not None))


def _log_axis(family: RunGroups, marks: Sequence[str]) -> dict[str, Any]:
    """A logarithmic axis for milestones, with round numbers of which none is left out."""
    table = family.table.astype({"step": float, "t_mem": float})
    seen = [table[mark].astype(float) for mark in marks]
    seen.append(table["step"] / (table["t_mem"] if "tau_grok" in marks else 1))
    values = np.concatenate([each.to_numpy() for each in seen])
    values = values[np.isfinite(values) & (values > 0)]
    if not values.size:
        return {"type": "log"}
    ticks = round_numbers(np.log10(values.min()) - 0.3, np.log10(values.max()) + 0.3)
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:,g}" for tick in ticks]}


def setting_axis(name: str, values: Sequence[Value]) -> dict[str, Any]:
    """An axis of a setting: logarithmic where its values are more even so, categories for words."""
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) < len(values):
        return {"title": name, "type": "category"}
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
    """One milestone: its medians with intervals, joined along each line, and the single runs."""
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
        _runs(panel, family, mark, dict(zip(keys, x, strict=True)), shades)
        _medians(panel, mark, [times[key] for key in keys], x, shades, _DASHES[number % 4])
        if len(lines) > 1 and mark == "t_gen":
            others = [name for name in family.by or () if name != along]
            values = (
                f"{n} {show_value(v)}" for n, v in zip(others, rest, strict=True) if v is not None
            )
            line = {"dash": _DASHES[number % 4], "color": GREY, "width": 1.5}
            panel.add(
                "scatter", x=[None], y=[None], mode="lines", line=line, entry=", ".join(values)
            )


def _runs(
    panel: Panel, family: RunGroups, mark: str, x: dict[Key, Any], colors: Sequence[str]
) -> None:
    """Every run as a faint point; open triangles where it did not get there."""
    points: dict[bool, list[tuple[Any, float, str, str]]] = {True: [], False: []}
    table = family.table[["step", "t_mem", mark]].astype(float)
    for (key, place), color in zip(x.items(), colors, strict=True):
        for label in family.groups[key]:
            last, t_mem, reached = table.loc[[label]].to_numpy()[0].tolist()
            last = last / (t_mem or math.nan) if mark == "tau_grok" else last
            is_there = not math.isnan(reached)
            points[is_there].append((place, reached if is_there else last, color, label))
    for is_there, found in points.items():
        if not found:
            continue
        places, y, look, labels = zip(*found, strict=True)
        marker = {"color": list(look), "size": 5, "symbol": _SYMBOLS[mark]}
        if not is_there:
            marker |= {"symbol": _CENSORED, "size": 8}
        panel.add(
            "scatter", x=list(places), y=list(y), mode="markers", marker=marker, text=list(labels),
            opacity=0.4 if is_there else 0.8, key=None if is_there else "not within the run",
            hover="%{text}<br>" + ("%{y:,.4g}" if is_there else "> %{y:,.4g}"),
        )  # fmt: skip


def _medians(
    panel: Panel,
    mark: str,
    times: Sequence[TimeToEvent],
    x: Sequence[Any],
    colors: Any,
    dash: str,
) -> None:
    """The medians, their intervals (or the range of few runs), and a grey line through them."""
    beyond = [math.isinf(each.median) for each in times]
    y = [
        float(w.horizon or math.nan) if b else w.median for w, b in zip(times, beyond, strict=True)
    ]
    above = [_until(w) - at for w, at in zip(times, y, strict=True)]
    below = [
        0.0 if math.isnan(w.low) or b else at - w.low
        for w, at, b in zip(times, y, beyond, strict=True)
    ]
    line = {"color": GREY, "width": 1.5, "dash": dash}
    panel.add(
        "scatter", x=list(x), y=y, mode="lines+markers", text=[str(each) for each in times],
        line=line, hover="median %{text}",
        marker={
            "color": list(colors), "line": {"width": 1, "color": "white"},
            "size": [14 if each else 10 for each in beyond], "opacity": 1,
            "symbol": [_CENSORED if each else _SYMBOLS[mark] for each in beyond],
        },
        error_y={
            "array": [max(0.0, each) for each in above], "arrayminus": below, "symmetric": False,
            "type": "data", "color": GREY, "thickness": 1.2, "width": 4,
        },
    )  # fmt: skip
    if mark != "tau_grok":
        marker = {"symbol": _SYMBOLS[mark], "size": 9}
        panel.add(
            "scatter", x=[None], y=[None], mode="lines+markers", line=line, marker=marker,
            key=f"median {mark}",
        )  # fmt: skip


def _until(time: TimeToEvent) -> float:
    """Where an interval is drawn to: to the last step where its end is beyond."""
    if math.isnan(time.high):
        return time.median if math.isfinite(time.median) else math.nan
    return time.high if math.isfinite(time.high) else float(time.horizon or math.nan)
