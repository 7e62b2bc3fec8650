"""Controls of a figure: a slider over training steps, its player, and menus."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import xarray as xr

from mechgrok.analyses.drawing.panel import Trace
from mechgrok.analyses.drawing.steps import StepAxis

#: Height of the slider in pixels.
SLIDER = 95.0
#: Milliseconds per stop during playback.
_STOP = 150


def slider_of(
    figure: go.Figure,
    traces: Sequence[Trace],
    stops: Sequence[int],
    axis: StepAxis,
    at_stop: Callable[[xr.Dataset, int], xr.Dataset],
) -> go.Figure:
    """Add a slider to the figure, with a frame of changed attributes for each stop.

    Args:
        figure: the figure, whose first traces are ``traces``.
        traces: all traces, changing or not.
        stops: the steps of the slider.
        axis: the axis of training steps.
        at_stop: selects a dataset's step nearest to a stop.
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
    slider |= {"yanchor": "top", "currentvalue": {"prefix": "training step "}}
    figure.frames = frames
    figure.layout.updatemenus += (_player(),)
    return figure.update_layout(sliders=[slider])


def _player() -> dict[str, Any]:
    """Buttons left of the slider: play from the first stop, and pause."""
    now = {"mode": "immediate", "transition": {"duration": 0}}
    play = [None, {**now, "frame": {"duration": _STOP, "redraw": True}}]
    pause = [[None], {**now, "frame": {"duration": 0, "redraw": False}}]
    buttons = [
        {"label": label, "method": "animate", "args": args}
        for label, args in (("▶", play), ("❚❚", pause))
    ]
    style = {"type": "buttons", "direction": "down", "showactive": False, "font": {"size": 10}}
    place = {"x": 0, "xanchor": "right", "y": 0, "yanchor": "top", "pad": {"r": 12}}
    return {**style, "buttons": buttons, **place}


def united_choices(traces: Sequence[Trace]) -> list[list[Trace]]:
    """The traces of each menu; traces with a choice in common share a menu."""
    menus: dict[tuple[str, ...], list[Trace]] = {}
    for trace in traces:
        if names := tuple(trace.choices):
            shared = next((key for key in menus if set(key) & set(names)), names)
            menus.setdefault(shared, []).append(trace)
    return list(menus.values())


def menu_of(figure: go.Figure, traces: Sequence[Trace], chosen: Sequence[Trace]) -> dict[str, Any]:
    """A menu of the traces' choices at the right end of a row, opened at the first choice.

    Args:
        figure: the figure, whose first traces are ``traces``.
        traces: all traces.
        chosen: the traces that the menu changes.
    """
    choices: list[Mapping[str, Mapping[str, Any]]] = [trace.choices for trace in chosen]
    indices = [i for i, trace in enumerate(traces) if any(trace is other for other in chosen)]
    names = list(dict.fromkeys(itertools.chain(*choices)))
    values = itertools.chain(*(choice.values() for choice in choices))
    attributes = list(dict.fromkeys(itertools.chain(*values)))
    for index, choice in zip(indices, choices, strict=True):
        figure.data[index].update(choice.get(names[0], {}))
    buttons = []
    for name in names:
        changed = {key: [choice.get(name, {}).get(key) for choice in choices] for key in attributes}
        buttons.append({"label": name, "method": "restyle", "args": [changed, indices]})
    return {"x": 1, "xanchor": "right", "yanchor": "bottom", "buttons": buttons}
