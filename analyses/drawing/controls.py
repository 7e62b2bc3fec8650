"""The controls of a figure: a slider over training steps, its player, and menus."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import xarray as xr

from mechgrok.analyses.drawing.panel import Trace
from mechgrok.analyses.drawing.steps import StepAxis

#: Pixels that the slider takes.
SLIDER = 95.0
#: Milliseconds for which each of its stops is shown when it plays.
_STOP = 150


def slider_of(
    figure: go.Figure,
    traces: Sequence[Trace],
    stops: Sequence[int],
    axis: StepAxis,
    below: float,
    at_stop: Callable[[xr.Dataset, int], xr.Dataset],
) -> go.Figure:
    """The figure with a slider, and with a frame for each of its stops, which holds what changes.

    Args:
        figure: the figure, whose first traces are ``traces``.
        traces: all of them, those that change and others.
        stops: the steps of the slider.
        axis: of training steps.
        below: pixels below the last row, under which the slider stands.
        at_stop: a dataset at the step nearest to a stop.
    """
    changing = {at: trace for at, trace in enumerate(traces) if trace.at is not None}
    datasets = {id(trace.dataset): trace.dataset for trace in changing.values()}
    frames, steps = [], []
    for stop in stops:
        now = {key: at_stop(ds, stop) for key, ds in datasets.items() if ds is not None}
        data = [
            {"type": trace.kind, **trace.changes(now[id(trace.dataset)], axis)}
            for trace in changing.values()
        ]
        frames.append(go.Frame(data=data, traces=list(changing), name=str(stop)))
        how = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}}
        steps.append({"label": f"{stop:,}", "method": "animate", "args": [[str(stop)], how]})
    slider = {"steps": steps, "active": len(steps) - 1, "x": 0, "len": 1, "y": 0}
    slider |= {"yanchor": "top", "pad": {"t": below + 6}}
    slider |= {"currentvalue": {"prefix": "training step "}}
    figure.frames = frames
    figure.layout.updatemenus += (_player(below),)
    return figure.update_layout(sliders=[slider])


def _player(below: float) -> dict[str, Any]:
    """Buttons left of the slider: one runs through its stops from the first, one stops there."""
    now = {"mode": "immediate", "transition": {"duration": 0}}
    play = [None, {**now, "frame": {"duration": _STOP, "redraw": True}}]
    pause = [[None], {**now, "frame": {"duration": 0, "redraw": False}}]
    buttons = [
        {"label": label, "method": "animate", "args": args}
        for label, args in (("▶", play), ("❚❚", pause))
    ]
    look = {"type": "buttons", "direction": "down", "showactive": False, "font": {"size": 10}}
    place = {"x": 0, "xanchor": "right", "y": 0, "yanchor": "top", "pad": {"t": below + 8, "r": 12}}
    return {**look, "buttons": buttons, **place}


def united_choices(traces: Sequence[Trace]) -> list[list[Trace]]:
    """The traces of each menu; traces that have a choice in common share one."""
    menus: dict[tuple[str, ...], list[Trace]] = {}
    for trace in traces:
        if names := tuple(trace.choices):
            shared = next((known for known in menus if set(known) & set(names)), names)
            menus.setdefault(shared, []).append(trace)
    return list(menus.values())


def menu_of(
    figure: go.Figure, traces: Sequence[Trace], chosen: Sequence[Trace], y: float, above: float
) -> dict[str, Any]:
    """A menu for the choices of some traces, at the right end of a row; the first one is shown.

    Args:
        figure: the figure, whose first traces are ``traces``.
        traces: all of them.
        chosen: those that the menu changes.
        y: the top of the row.
        above: pixels from there to the menu.
    """
    choices: list[Mapping[str, Mapping[str, Any]]] = [trace.choices for trace in chosen]
    places = [at for at, trace in enumerate(traces) if any(trace is each for each in chosen)]
    names = list(dict.fromkeys(itertools.chain(*choices)))
    values = itertools.chain(*(each.values() for each in choices))
    attributes = list(dict.fromkeys(itertools.chain(*values)))
    for at, each in zip(places, choices, strict=True):
        figure.data[at].update(each.get(names[0], {}))
    buttons = []
    for name in names:
        changed = {key: [each.get(name, {}).get(key) for each in choices] for key in attributes}
        buttons.append({"label": name, "method": "restyle", "args": [changed, places]})
    place = {"x": 1, "xanchor": "right", "y": y, "yanchor": "bottom", "pad": {"b": 4 + above}}
    return {**place, "buttons": buttons}
