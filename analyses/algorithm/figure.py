"""The algorithm figure: scalar measures, waves by distance, phases, frequencies."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from mechgrok.analyses.drawing import SHARE, LogAxis, Measured, Panel, Panels, Row, frequency_color

#: The most frequencies drawn as waves.
_MOST_KEYS = 6


def draw(measured: Measured, *, log: LogAxis = True) -> go.Figure:
    """Three scalar measures, the fall of waves with distance, phases, and frequency strengths."""
    figure = Panels(
        measured,
        title="Clock or pizza: the network's algorithm over training",
        subtitle="distance: between the operands on the circle of a frequency, from 0 to half a "
        "turn; grey: the wave of a pure clock and of a pure pizza",
        log=log,
    )
    row = figure.row(height=190)
    for name in ("symmetricity", "irrelevance", "circularity"):
        kind = {"symmetricity": "gradient ", "irrelevance": "distance "}.get(name, "")
        panel = row.over_training(f"{kind}{name}", y=SHARE | {"tickformat": None})
        panel.curves(name, value="%{y:.3f}")
    panel = row.over_training("cos(φ_out − 2φ_in)", y={"range": [-0.35, 1.05]})
    panel.curves("alignment", value="%{y:.3f}")
    for label, dataset in figure.pictured.items():
        row = figure.row(height=230, legend=True)
        _draw_waves(row, label, dataset)
        _draw_falls(row, label, dataset)
        _draw_phases(row, label, dataset)
        _draw_magnitudes(row, label, dataset)
    return figure.draw()


def _strongest(dataset: xr.Dataset) -> list[int]:
    """The key frequencies of largest magnitude at the last step, in ascending order."""
    magnitude = dataset.magnitude.isel(step=-1).sel(frequency=dataset.key).to_numpy()
    strongest = np.sort(np.argsort(-magnitude, kind="stable")[:_MOST_KEYS])
    return dataset.key.to_numpy()[strongest].tolist()


def _draw_waves(row: Row, label: str, dataset: xr.Dataset) -> None:
    """Draw the waves of single circles over distance, with those of a clock and a pizza."""
    name = f"{label}: " if len(row.figure.measured) > 1 else ""
    title = f"{name}waves of single circles"
    panel = row.panel(title, x="turns between a and b", y="share of the highest")
    turn = np.linspace(0, 0.5, 101)
    for shape in (np.cos(np.pi * turn), np.ones_like(turn)):
        panel.add("scatter", x=turn, y=shape, mode="lines", line={"color": "#BBBBBB", "width": 4})
    for key in _strongest(dataset):
        _draw_wave(panel, label, dataset, key)


def _draw_falls(row: Row, label: str, dataset: xr.Dataset) -> None:
    """Draw the fall of each wave over training."""
    title = "fall of the waves: 0 clock, 1 pizza"
    panel = row.over_training(title, y={"range": [-0.25, 1.25]}, marks=[label])
    for key in _strongest(dataset):
        curve = dataset.pizza.sel(key=key, circle="alone")
        color, entry = frequency_color(key), f"k = {key}"
        panel.lines(dataset.step, curve, run=label, entry=entry, color=color, value="%{y:.2f}")


def _draw_wave(panel: Panel, label: str, dataset: xr.Dataset, key: int) -> None:
    n = dataset.sizes["distance"]
    turns = key * dataset.distance.to_numpy() % n / n
    turns = np.minimum(turns, 1 - turns)
    order = np.argsort(turns, kind="stable")

    def wave(now: xr.Dataset) -> dict[str, Any]:
        values = now.wave.sel(key=key, circle="alone").to_numpy()[order]
        top = np.nanmax(np.abs(values), initial=0) or 1.0
        return {"y": (values / top).astype(np.float32)}

    panel.add(
        "scatter",
        run=label,
        at=wave,
        x=turns[order],
        mode="markers",
        marker={"size": 5},
        color=frequency_color(key),
        hover=f"k = {key}" + "<br>%{x:.2f} turns apart: %{y:.2f}",
    )


def _draw_magnitudes(row: Row, label: str, dataset: xr.Dataset) -> None:
    """Draw Σ reads · writes, key frequencies in colour and all others in grey."""
    panel = row.over_training("Σ reads · writes", y={"rangemode": "tozero"}, marks=[label])
    keys = dataset.key.to_numpy().tolist()
    if rest := [k for k in dataset.frequency.to_numpy().tolist() if k and k not in keys]:
        others = dataset.magnitude.sel(frequency=rest).to_numpy().T
        panel.bundle(dataset.step, others, run=label, color="#BBBBBB", opacity=1)
    for key in keys:
        curve, value = dataset.magnitude.sel(frequency=key), f"k = {key}: %{{y:.3g}}"
        panel.lines(dataset.step, curve, run=label, color=frequency_color(key), value=value)


def _draw_phases(row: Row, label: str, dataset: xr.Dataset) -> None:
    """Draw φ_out over 2 φ_in for every neuron, sized by its contribution."""
    along = {"range": [-3.3, 3.3], "tickvals": [-np.pi, 0, np.pi], "ticktext": ["−π", "0", "π"]}
    x, y = {"title": "2 φ_in", **along}, {"title": "φ_out", **along}
    panel = row.panel("phases of neurons", x=x, y=y, square=True)

    def neurons(now: xr.Dataset) -> dict[str, Any]:
        weight = (now.reads * now.writes).to_numpy()
        size = 3 + 9 * np.sqrt(weight / (weight.max() or 1.0))
        colors = [frequency_color(int(k)) for k in now.frequency_of.to_numpy()]
        return {
            "x": now.phase_in.to_numpy().astype(np.float32),
            "y": now.phase_out.to_numpy().astype(np.float32),
            "marker": {"size": size.round(1), "color": colors, "line": {"width": 0}},
            "customdata": now.frequency_of.to_numpy(),
        }

    panel.add(
        "scatter",
        run=label,
        at=neurons,
        mode="markers",
        hover="k = %{customdata}<br>2 φ_in %{x:.2f}, φ_out %{y:.2f}",
    )
