"""What does each neuron read of each residue? Its input weights as a wave with frequency and phase.

A neuron's input weights are its column of W_E W_in: one number per residue. In a network that has
generalized they are cosines, neurons share a few frequencies, and within a frequency the phases
spread over the circle (Minegishi et al. 2023, arXiv 2310.19470, version 2, fig. 4; Nanda et al.
2023, arXiv 2301.05217). In a transformer the operands come through attention, and the weights are
Σ_h W_E W_V W_O W_in over the heads h.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from plotly.subplots import make_subplots

from analyses.drawing import (
    DIVERGING,
    SEQUENTIAL,
    TEMPLATE,
    run_colors,
    slider_steps,
    spread,
    with_slider,
)
from analyses.measures.finite import and_left_out, finite_steps, left_out
from analyses.measures.fourier import CosineFit, cosine_fit, live
from analyses.measures.residues import OrderOption, not_modular, residues
from mechgrok.runs import Run

#: Checkpoints that are measured unless steps are given.
_STOPS = 20
#: Neurons drawn as curves, the strongest ones, of as many frequencies as possible.
_CURVES = 4
#: Points per residue at which a fitted wave is drawn.
_FINE = 8
#: The row of phases, below the map, the curves and a gap.
_PHASES = _CURVES + 3
_FIT = ("frequency_of", "amplitude", "phase", "offset", "explained")


def applies(run: Run) -> str | None:
    """Waves over residues exist only where inputs are residues modulo p."""
    return not_modular(run.task)


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    path: Annotated[str, "from tokens to neurons; auto: attention in a transformer"] = "auto",
    order: Annotated[OrderOption, "of the residues; auto: multiplicative for mul and div"] = "auto",
) -> xr.Dataset:
    """Input weights and the cosine that fits each neuron best, at 20 checkpoints or at ``steps``.

    Returns:
        ``weight [step, neuron, position]``: the input weights, residues in the chosen order (which
        residue stands at a position is the coordinate ``residue``); the least-squares fit ``offset
        + amplitude · cos(2π frequency position / n − phase)`` as ``frequency_of``, ``amplitude``,
        ``phase`` (radians, in (−π, π]) and ``offset [step, neuron]``; ``explained [step, neuron]``:
        the share of the curve's variance that it accounts for; ``live [step, neuron]``: whether
        the weights are above 1 % of the largest neuron's.
    """
    asked = spread(run.steps, _STOPS) if steps is None else run.select(steps)
    steps = finite_steps(run, asked)
    tokens = residues(run.task, order)
    weights = run.input_side(steps, path=path)[:, tokens].transpose(1, 2)
    fit = cosine_fit(weights)
    each = ("step", "neuron")
    return xr.Dataset(
        {
            "weight": ((*each, "position"), weights.numpy(), {"units": "weight"}),
            "frequency_of": (each, fit.frequency.numpy(), {"units": f"cycles per {len(tokens)}"}),
            "amplitude": (each, fit.amplitude.numpy(), {"units": "weight"}),
            "phase": (each, fit.phase.numpy(), {"units": "radians"}),
            "offset": (each, fit.offset.numpy(), {"units": "weight"}),
            "explained": (each, fit.explained.numpy(), {"units": "share of variance"}),
            "live": (each, live(weights).numpy(), {"units": "none"}),
        },
        coords={
            "step": steps,
            "neuron": np.arange(weights.shape[1]),
            "position": np.arange(len(tokens)),
            "residue": ("position", tokens.numpy()),
        },
        attrs={
            "definition": "weight(x) ≈ offset + amplitude · cos(2π frequency x / n − phase)",
            "path": run.wiring.path_name(path),
            **left_out(asked, steps),
            "order": "additive" if len(tokens) == run.task.d_output else "multiplicative",
        },
    )


def finding(dataset: xr.Dataset) -> str:
    """How much of the live neurons' weights single cosines explain, and their frequencies."""
    first, last = _explained(dataset.isel(step=0)), _explained(dataset.isel(step=-1))
    at = dataset.isel(step=-1)
    if not at.live.any():
        return and_left_out(f"no neuron is alive at step {int(at.step):,}", dataset)
    if not np.isfinite(last):
        words = f"live neurons read all residues alike at step {int(at.step):,}"
        return and_left_out(words, dataset)
    used, count = np.unique(at.frequency_of.to_numpy()[at.live.to_numpy()], return_counts=True)
    strongest = sorted(zip(count.tolist(), used.tolist(), strict=True), reverse=True)
    names = ", ".join(f"{frequency} ({n})" for n, frequency in strongest[:6])
    before = f"; {first:.0%} at step {int(dataset.step[0]):,}" if np.isfinite(first) else ""
    text = (
        f"one cosine explains {last:.0%} of a live neuron's input weights at step {int(at.step):,} "
        f"(median{before}); frequencies (neurons): {names}" + (" …" if len(strongest) > 6 else "")
    )
    return and_left_out(text, dataset)


def _explained(at: xr.Dataset) -> float:
    """The median share of variance over the live neurons at one step; NaN where none varies."""
    shares = at.explained.to_numpy()[at.live.to_numpy()]
    known = shares[np.isfinite(shares)]
    return float(np.median(known)) if known.size else float("nan")


def draw(measured: Mapping[str, xr.Dataset]) -> go.Figure:
    """A column for each run: all neurons, the strongest as curves with their fits, the phases."""
    colors = run_colors(measured)
    figure = make_subplots(
        _PHASES,
        len(measured),
        row_heights=[2.8, *[0.8] * _CURVES, 0.2, 1.6],
        specs=[
            [{}] * len(measured) if row != _PHASES - 1 else [None] * len(measured)
            for row in range(1, _PHASES + 1)
        ],
        vertical_spacing=0.025,
        horizontal_spacing=0.1,
        subplot_titles=list(measured),
    )
    stops = slider_steps(measured)
    curves = {label: _strongest(dataset) for label, dataset in measured.items()}
    rows = {label: _row_order(dataset) for label, dataset in measured.items()}

    def changing(step: int) -> list[dict[str, Any]]:
        traces: list[dict[str, Any]] = []
        for label, dataset in measured.items():
            at = dataset.sel(step=step, method="nearest")
            traces.append(_map(at, rows[label]))
            for neuron in curves[label]:
                traces += _curve_and_fit(at.sel(neuron=neuron), 1.6 * _top(dataset, neuron))
            traces.append(_phases(at))
        return traces

    traces = iter(changing(stops[-1]))
    for column, (label, dataset) in enumerate(measured.items(), 1):
        figure.add_trace(_style_map(next(traces), dataset, rows[label], column), 1, column)
        for row, neuron in enumerate(curves[label], 2):
            changing_parts = (next(traces), next(traces), next(traces))
            for trace in _style_curve(*changing_parts, dataset, neuron, colors[label]):
                figure.add_trace(trace, row, column)
        figure.add_trace(_style_phases(next(traces)), _PHASES, column)
        _label_axes(figure, dataset, column, [1.6 * _top(dataset, n) for n in curves[label]])
    _color_axes(figure, measured)
    figure.update_layout(
        template=TEMPLATE,
        height=1060,
        showlegend=False,
        title={"text": _title(measured), "subtitle": {"text": _subtitle(measured)}},
        margin={"t": 130},
    )
    return with_slider(figure, stops, changing)


def _row_order(dataset: xr.Dataset) -> np.ndarray:
    """Neurons by the frequency and phase that they end with, dead ones last, at every step."""
    last = dataset.isel(step=-1)
    keys = (last.phase.to_numpy(), last.frequency_of.to_numpy(), ~last.live.to_numpy())
    return np.lexsort(keys)


def _strongest(dataset: xr.Dataset) -> list[int]:
    """The neurons of largest amplitude at the last step, each of another frequency if it can be."""
    last = dataset.isel(step=-1)
    falling = np.argsort(-last.amplitude.to_numpy())
    frequency = last.frequency_of.to_numpy()
    leaders = [n for at, n in enumerate(falling) if frequency[n] not in frequency[falling[:at]]]
    others = [n for n in falling if n not in leaders]
    return [int(n) for n in (leaders + others)[:_CURVES]]


# --- what follows the slider --------------------------------------------------------------------


def _map(at: xr.Dataset, rows: np.ndarray) -> dict[str, Any]:
    weight = at.weight.to_numpy()[rows].astype(np.float32)
    return {"type": "heatmap", "z": weight}


def _curve_and_fit(at: xr.Dataset, top: float) -> list[dict[str, Any]]:
    """A neuron's weights, the wave fitted to them, and what the fit says in the panel's corner."""
    n = at.sizes["position"]
    fit = CosineFit(*(torch.tensor(at[name].to_numpy()) for name in _FIT))
    x = torch.linspace(0, n - 1, _FINE * n)
    text = (
        f"neuron {int(at.neuron)}: frequency {int(at.frequency_of)}, "
        f"phase {float(at.phase):+.2f}, {float(at.explained):.0%} explained"
    )
    return [
        {"type": "scatter", "y": at.weight.to_numpy().astype(np.float32)},
        {"type": "scatter", "y": fit.curve(x, n).numpy().astype(np.float32)},
        {"type": "scatter", "x": [n - 1], "y": [top], "text": [text]},
    ]


def _phases(at: xr.Dataset) -> dict[str, Any]:
    alive = at.live.to_numpy()
    amplitude = at.amplitude.to_numpy()
    return {
        "type": "scatter",
        "x": at.frequency_of.to_numpy()[alive],
        "y": at.phase.to_numpy()[alive],
        "customdata": np.stack([at.neuron, at.amplitude, at.explained], 1)[alive],
        "marker": {
            "color": at.explained.to_numpy()[alive],
            "size": 4 + 10 * (amplitude / max(amplitude.max(), 1e-30))[alive],
        },
    }


# --- how it looks -------------------------------------------------------------------------------


def _style_map(
    trace: dict[str, Any], dataset: xr.Dataset, rows: np.ndarray, column: int
) -> go.Heatmap:
    return go.Heatmap(
        trace,
        customdata=np.repeat(
            dataset.neuron.to_numpy()[rows][:, None], dataset.sizes["position"], 1
        ),
        x=dataset.position,
        text=np.repeat(dataset.residue.to_numpy()[None], len(rows), 0),
        coloraxis=f"coloraxis{'' if column == 1 else column}",
        hovertemplate="neuron %{customdata}<br>residue %{text}<br>weight %{z:.3g}<extra></extra>",
    )


def _style_curve(
    points: dict[str, Any],
    fit: dict[str, Any],
    text: dict[str, Any],
    dataset: xr.Dataset,
    neuron: int,
    color: str,
) -> list[go.Scatter]:
    n = dataset.sizes["position"]
    hover = f"neuron {neuron}<br>residue %{{customdata}}<br>weight %{{y:.3g}}<extra></extra>"
    return [
        go.Scatter(
            points,
            x=dataset.position,
            customdata=dataset.residue,
            mode="markers",
            marker={"color": color, "size": 5},
            hovertemplate=hover,
        ),
        go.Scatter(
            fit,
            x=np.linspace(0, n - 1, _FINE * n),
            mode="lines",
            line={"color": "#222", "width": 1},
            hoverinfo="skip",
        ),
        go.Scatter(
            text,
            mode="text",
            textposition="bottom left",
            textfont={"size": 11},
            hoverinfo="skip",
        ),
    ]


def _style_phases(trace: dict[str, Any]) -> go.Scatter:
    marker = {
        "cmin": 0,
        "cmax": 1,
        "colorscale": SEQUENTIAL,
        "line": {"width": 0.5, "color": "#444"},
    }
    styled = go.Scatter(
        trace,
        mode="markers",
        hovertemplate="neuron %{customdata[0]}<br>frequency %{x}<br>phase %{y:.2f} rad<br>"
        "amplitude %{customdata[1]:.3g}<br>explained %{customdata[2]:.0%}<extra></extra>",
    )
    return styled.update(marker=marker)


def _label_axes(figure: go.Figure, dataset: xr.Dataset, column: int, tops: Sequence[float]) -> None:
    n = dataset.sizes["position"]
    what = (
        "residue" if dataset.attrs["order"] == "additive" else "discrete logarithm of the residue"
    )
    for row in range(1, _CURVES + 2):
        figure.update_xaxes(range=[-0.5, n - 0.5], showticklabels=False, row=row, col=column)
    figure.update_xaxes(
        title={"text": what, "standoff": 4}, showticklabels=True, row=_CURVES + 1, col=column
    )
    figure.update_yaxes(showticklabels=False, ticks="", title="neuron", row=1, col=column)
    for row, top in enumerate(tops, 2):
        figure.update_yaxes(range=[-top, top], nticks=4, row=row, col=column)
    figure.update_yaxes(title="weight", row=_CURVES + 1, col=column)
    figure.update_xaxes(
        title="frequency (cycles over all residues)", range=[0, n // 2 + 1], row=_PHASES, col=column
    )
    figure.update_yaxes(
        title="phase (rad)",
        range=[-3.5, 3.5],
        tickvals=[-np.pi, 0, np.pi],
        ticktext=["−π", "0", "π"],
        row=_PHASES,
        col=column,
    )


def _color_axes(figure: go.Figure, measured: Mapping[str, xr.Dataset]) -> None:
    """One colour bar of weights beside each map, the same at all steps."""
    for column, dataset in enumerate(measured.values(), 1):
        axis = figure.get_subplot(1, column)
        bar = {"thickness": 10, "len": 0.3, "y": 1, "yanchor": "top", "title": {"text": "weight"}}
        figure.update_layout(
            {
                f"coloraxis{'' if column == 1 else column}": {
                    "colorscale": DIVERGING,
                    "cmid": 0,
                    "cmin": -_typical_top(dataset),
                    "cmax": _typical_top(dataset),
                    "colorbar": bar | {"x": axis.xaxis.domain[1] + 0.005, "xanchor": "left"},
                }
            }
        )


def _top(dataset: xr.Dataset, neuron: int) -> float:
    """The neuron's largest weight over all steps."""
    return float(np.abs(dataset.weight.sel(neuron=neuron)).max())


def _typical_top(dataset: xr.Dataset) -> float:
    """A weight that 1 % of the last step's exceed: few large ones would wash out all others."""
    return float(np.abs(dataset.weight.isel(step=-1)).quantile(0.99))


def _title(measured: Mapping[str, xr.Dataset]) -> str:
    """What the last steps show, in all runs."""
    last = [_explained(dataset.isel(step=-1)) for dataset in measured.values()]
    if min(last) > 0.75:
        return "Neurons read residues as waves: their input weights are cosines"
    if max(last) < 0.4:
        return "Input weights of the neurons are no waves yet"
    return "Input weights of the neurons and the cosines that fit them best"


def _subtitle(measured: Mapping[str, xr.Dataset]) -> str:
    ends = "; ".join(
        f"{label}: one cosine explains {_explained(dataset.isel(step=-1)):.0%} of a live neuron "
        f"(median, step {int(dataset.step[-1]):,})"
        for label, dataset in measured.items()
    )
    return (
        f"{ends}<br>rows ordered by the frequency and phase that neurons end with; below, dots "
        "sized by amplitude, yellow where the cosine explains all"
    )
