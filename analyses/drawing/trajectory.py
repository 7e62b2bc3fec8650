"""Training steps in figures: as an axis, as marks where learning happened, and as a slider."""

from collections.abc import Callable, Mapping, Sequence

import plotly.graph_objects as go
import xarray as xr

from analyses.drawing.steps import spread


def step_axis(figure: go.Figure, *, log: bool = False, **where: int) -> None:
    """Label an x axis as training steps; on a logarithmic one step 0 has no place."""
    figure.update_xaxes(title="training step", type="log" if log else "linear", **where)


def mark_learning(
    figure: go.Figure, measured: Mapping[str, xr.Dataset], colors: Mapping[str, str], **where: int
) -> None:
    """Vertical lines at each run's t_mem (dotted) and t_gen (dashed), from the dataset's attrs."""
    for label, dataset in measured.items():
        for mark, dash in (("t_mem", "dot"), ("t_gen", "dash")):
            at = dataset.attrs.get(mark)
            if at is not None and at >= 0:
                figure.add_vline(
                    x=at, line={"color": colors[label], "dash": dash, "width": 1.2}, **where
                )


def slider_steps(measured: Mapping[str, xr.Dataset], count: int = 60) -> list[int]:
    """The stops of a slider over several runs: the steps of all of them, thinned to ``count``.

    Runs were saved at steps of their own; a figure shows each at its step nearest to the stop.
    """
    steps = {step for dataset in measured.values() for step in dataset.step.to_numpy().tolist()}
    return spread(sorted(steps), count)


def with_slider(
    figure: go.Figure,
    steps: Sequence[int],
    traces_at: Callable[[int], Sequence[go.Figure | dict]],
    *,
    active: int = -1,
) -> go.Figure:
    """Give ``figure`` a slider over ``steps``.

    Args:
        figure: a figure whose first traces are those of step ``steps[active]``; traces after them
            stay as they are.
        steps: the steps to stop at.
        traces_at: the changing parts of those first traces at a step, in their order.
        active: the position in ``steps`` that the figure opens at.
    """
    frames, stops = [], []
    for step in steps:
        traces = list(traces_at(step))
        frames.append(go.Frame(data=traces, traces=list(range(len(traces))), name=str(step)))
        arguments = [[str(step)], {"mode": "immediate", "frame": {"duration": 0, "redraw": True}}]
        stops.append({"label": f"{step:,}", "method": "animate", "args": arguments})
    figure.frames = frames
    figure.update_layout(
        sliders=[
            {
                "steps": stops,
                "active": active % len(stops),
                "currentvalue": {"prefix": "training step "},
                "x": 0,
                "len": 1,
                "y": 0,
                "yanchor": "top",
                "pad": {"t": 60},
            }
        ]
    )
    return figure
