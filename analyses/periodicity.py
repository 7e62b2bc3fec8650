"""Are the neurons' weights waves? Each neuron's input weights as a wave with frequency and phase.

A neuron's input weights are its column of W_E W_in: one number per residue. In a network that has
generalized they are cosines, neurons share a few frequencies, and within a frequency the phases
spread over the circle (Minegishi et al. 2023, arXiv 2310.19470, version 2, fig. 4; Nanda et al.
2023, arXiv 2301.05217). In a transformer the operands pass through attention, and the weights are
Σ_h W_E W_V W_O W_in over the heads h.

A group that is not cyclic has no phases: the projection of a neuron's weights on its strongest
irreducible representation replaces the cosine.
"""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float, Integer
from torch import Tensor

from mechgrok.analyses.drawing import DIVERGING, Colors, Measured, Panels, Row, representatives
from mechgrok.analyses.measures.finite import select_finite_steps
from mechgrok.analyses.measures.formats import format_percent, with_skipped_note
from mechgrok.analyses.measures.fourier import CosineFit, cosine_fit, dominant_frequency, live
from mechgrok.analyses.measures.harmonics import (
    Representations,
    count_neurons,
    harmonics,
    no_harmonics,
    part_coordinates,
    part_labels,
    part_units,
    parts_of_neurons,
)
from mechgrok.analyses.measures.neurons import distinct_first
from mechgrok.analyses.measures.residues import OrderOption
from mechgrok.analyses.measures.spacing import thin
from mechgrok.results.variables import Scalar, Variable, described
from mechgrok.runs import Run

#: Number of checkpoints measured by default.
_STOPS = 20
#: Number of neurons drawn as curves.
_CURVES = 4
#: Points per residue of a fitted wave.
_FINE = 8
#: Runs in a row.
_ACROSS = 3
_FIT = ("frequency_of", "amplitude", "phase", "offset", "explained")


def applies(run: Run) -> str | None:
    """Requires residues modulo p, or elements of a group, as inputs."""
    return no_harmonics(run.task)


VARIABLES = {
    "weight": Variable(
        "step, neuron, position",
        "weight",
        "the neuron's input weight for the residue at the position",
    ),
    "fit": Variable(
        "step, neuron, position",
        "weight",
        "of a group: offset + Σ_ij c_ij ρ_ij(g), ρ the strongest representation",
    ),
    "frequency_of": Variable(
        "step, neuron",
        "{units of a frequency}",
        "k of the least-squares fit offset + amplitude · cos(2πk position / n − phase); of a "
        "group, the strongest representation",
    ),
    "amplitude": Variable(
        "step, neuron",
        "weight",
        "of the fitted cosine; of a group, √2 · root mean square of fit − offset",
    ),
    "phase": Variable("step, neuron", "radians", "of the fitted cosine, in (−π, π]"),
    "offset": Variable("step, neuron", "weight", "of the fit: the mean of the weights"),
    "explained": Variable(
        "step, neuron",
        "share of variance",
        "share of the variance of the neuron's weights in the fit",
    ),
    "live": Variable(
        "step, neuron", "none", "whether the neuron's input weights are above 1 % of the largest's"
    ),
    "position": Variable("position", "none", "a position in the chosen order of residues"),
    "residue": Variable("position", "none", "the residue at the position, or the group's element"),
}
#: Summaries of variables with further dimensions, one number per step.
SCALARS = {
    "explained": Scalar("explained"),
}


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    path: Annotated[str, "from tokens to neurons; auto: attention in a transformer"] = "auto",
    order: Annotated[OrderOption, "of the residues; auto: multiplicative for mul and div"] = "auto",
) -> xr.Dataset:
    """Fit a cosine to each neuron's input weights, at 20 checkpoints or at ``steps``.

    Returns:
        `VARIABLES`.
    """
    steps, of_steps = select_finite_steps(run, steps, partial(thin, count=_STOPS))
    parts = harmonics(run.task, order)
    tokens = parts.tokens
    weights = run.input_side(steps, path=path)[:, tokens].transpose(1, 2)
    residue: Any = tokens.numpy()
    if isinstance(parts, Representations):
        values, coords, order_name = _fit_on_group(weights, parts), part_coordinates(parts), "group"
        residue = run.task.vocabulary[: parts.n]
    else:
        values, coords = dict(zip(_FIT, cosine_fit(weights), strict=True)), {}
        order_name = "additive" if parts.n == run.task.d_output else "multiplicative"
    values |= {"weight": weights, "live": live(weights)}
    return described(
        VARIABLES,
        {name: tensor.numpy() for name, tensor in values.items()},
        coords={
            "step": steps,
            "neuron": np.arange(weights.shape[1]),
            "position": np.arange(parts.n),
            "residue": residue,
            **coords,
        },
        attrs={"path": run.wiring.path_name(path), **of_steps, "order": order_name},
        words=part_units(parts),
    )


def _fit_on_group(
    weights: Float[Tensor, "step neuron position"], parts: Representations
) -> dict[str, Tensor]:
    """The projection of each neuron's weights on its strongest representation."""
    share = parts.power_share(parts.amplitude(weights))
    strongest, mean = dominant_frequency(share), weights.mean(-1, keepdim=True)
    fit = mean.expand_as(weights).clone()
    for part in strongest.unique().tolist():
        basis = parts.basis(part).to(weights.dtype)
        projection = mean + (weights @ basis) @ basis.T
        fit = torch.where((strongest == part)[..., None], projection, fit)
    amplitude = (fit - mean).square().mean(-1).mul(2).sqrt()
    return {
        "fit": fit,
        "frequency_of": strongest,
        "amplitude": amplitude,
        "offset": mean[..., 0],
        "explained": share.amax(-1),
    }


def finding(dataset: xr.Dataset) -> str:
    """The share of the live neurons' weights in single cosines, and their frequencies."""
    last, labels = dataset.isel(step=-1), part_labels(dataset)
    if not last.live.any():
        return with_skipped_note(f"no neuron is alive at step {int(last.step):,}", dataset)
    used = last.frequency_of.to_numpy()[last.live.to_numpy()]
    explained = format_percent(last.explained.where(last.live).median())
    text = (
        f"one {'representation' if _is_group(dataset) else 'cosine'} explains {explained} "
        f"(median) of a live neuron's input weights at step {int(last.step):,}; "
        f"{labels.plural} (neurons): {count_neurons(labels, used)}"
    )
    return with_skipped_note(text, dataset)


def _is_group(dataset: xr.Dataset) -> bool:
    return "representation" in dataset.coords


def draw(measured: Measured) -> go.Figure:
    """A column for each run: all neurons, the strongest as curves with fits, and phases."""
    measured = representatives(measured)
    figure = Panels(
        measured,
        title="Input weights of the neurons, and the best-fitting waves",
        subtitle="rows ordered by frequency and phase at the last step; below, dots sized by "
        "amplitude, yellow for a perfect fit; curves: neuron, fit, share explained",
    )
    explained = figure.colors("share explained", 0, 1, tickformat=".0%")
    for first in range(0, len(measured), _ACROSS):
        runs = dict(list(measured.items())[first : first + _ACROSS])
        row = figure.row(height=340)
        for label, dataset in runs.items():
            _draw_weights(figure, row, label, dataset)
        strongest = {label: _strongest(dataset) for label, dataset in runs.items()}
        for at in range(max(map(len, strongest.values()))):
            row = figure.row(height=95)
            for label, dataset in runs.items():
                if at < len(strongest[label]):
                    _draw_curve(row, label, dataset, strongest[label], at)
                else:
                    row.empty()
        row = figure.row(height=200)
        for label, dataset in runs.items():
            _draw_fits(row, label, dataset, explained)
    return figure.draw()


def _row_order(dataset: xr.Dataset) -> Integer[np.ndarray, " neuron"]:
    """Neurons by frequency and phase at the last step, dead ones last."""
    last = dataset.isel(step=-1)
    within = -last.explained.to_numpy() if _is_group(dataset) else last.phase.to_numpy()
    keys = (within, last.frequency_of.to_numpy(), ~last.live.to_numpy())
    return np.lexsort(keys)


def _strongest(dataset: xr.Dataset) -> list[int]:
    """The neurons of largest amplitude at the last step, with distinct frequencies if possible."""
    last = dataset.isel(step=-1)
    falling = np.argsort(-last.amplitude.to_numpy()).tolist()
    return distinct_first(falling, last.frequency_of.to_numpy().tolist(), _CURVES)


# --- the panels ---------------------------------------------------------------------------------


def _residues(dataset: xr.Dataset) -> dict[str, Any]:
    """The axis of residues, in the order of the waves."""
    titles = {"additive": "residue", "group": "element, in the group's order"}
    title = titles.get(dataset.attrs["order"], "discrete logarithm of the residue")
    return {"title": title, "range": [-0.5, dataset.sizes["position"] - 0.5]}


def _token(dataset: xr.Dataset) -> str:
    return "element" if _is_group(dataset) else "residue"


def _draw_weights(figure: Panels, row: Row, label: str, dataset: xr.Dataset) -> None:
    """Draw the input weights of all neurons, one row per neuron in the same order at all steps."""
    order = _row_order(dataset)
    # The 99th percentile at the last step: outliers would make all other weights pale.
    top = float(np.abs(dataset.weight.isel(step=-1)).quantile(0.99))
    colors = figure.colors("weight", -top, top, scale=DIVERGING)
    y = {"title": "neuron", "showticklabels": False, "ticks": ""}
    shape = (dataset.sizes["neuron"], dataset.sizes["position"])
    row.panel(f"{label}: input weights of all neurons", x=_residues(dataset), y=y).heat(
        colors,
        run=label,
        at=lambda now: {"z": now.weight.to_numpy()[order].astype(np.float32)},
        x=dataset.position,
        customdata=np.broadcast_to(dataset.neuron.to_numpy()[order][:, None], shape),
        text=np.broadcast_to(dataset.residue.to_numpy()[None], shape),
        hover=f"neuron %{{customdata}}<br>{_token(dataset)} %{{text}}<br>weight %{{z:.3g}}",
    )


def _draw_curve(row: Row, label: str, dataset: xr.Dataset, neurons: Sequence[int], at: int) -> None:
    """Draw a neuron's weights, the fitted wave, and the fit's parameters in the corner."""
    of_neuron = dataset.sel(neuron=neurons[at])
    n, top = dataset.sizes["position"], 1.6 * float(np.abs(of_neuron.weight).max())
    y = {"title": "weight", "range": [-top, top], "nticks": 4}
    hidden = {"title": "", "showticklabels": False} if at < len(neurons) - 1 else {}
    panel = row.panel(x=_residues(dataset) | hidden, y=y)
    panel.add(
        "scatter",
        run=label,
        at=lambda now: {"y": now.weight.sel(neuron=neurons[at]).to_numpy().astype(np.float32)},
        x=dataset.position,
        customdata=dataset.residue,
        mode="markers",
        marker={"size": 5},
        hover=f"neuron {neurons[at]}<br>{_token(dataset)} %{{customdata}}<br>weight %{{y:.3g}}",
    )
    fine = torch.linspace(0, n - 1, n if _is_group(dataset) else _FINE * n)
    line: dict[str, Any] = {"mode": "lines", "line": {"color": "#222222", "width": 1}}
    wave = partial(_wave, neuron=neurons[at], x=fine)
    panel.add("scatter", run=label, at=wave, x=fine.numpy(), color="#222", **line)
    text = partial(_describe_fit, neuron=neurons[at])
    corner: dict[str, Any] = {"x": [n - 1], "y": [top], "textposition": "bottom left"}
    panel.add("scatter", run=label, at=text, mode="text", textfont={"size": 11}, **corner)


def _wave(now: xr.Dataset, neuron: int, x: Float[Tensor, " place"]) -> dict[str, Any]:
    """The fit of a neuron's weights; a cosine also between residues."""
    of_neuron = now.sel(neuron=neuron)
    if _is_group(now):
        return {"y": of_neuron.fit.to_numpy().astype(np.float32)}
    fit = CosineFit(*(torch.tensor(of_neuron[name].to_numpy()) for name in _FIT))
    return {"y": fit.curve(x, now.sizes["position"]).numpy().astype(np.float32)}


def _describe_fit(now: xr.Dataset, neuron: int) -> dict[str, Any]:
    of_neuron = now.sel(neuron=neuron)
    if _is_group(now):
        fit = part_labels(now).names[int(of_neuron.frequency_of)]
    else:
        phase = f"{float(of_neuron.phase):+.2f}".replace("-", "−")
        fit = f"ω = {int(of_neuron.frequency_of)}, phase {phase}"
    return {"text": [f"{neuron}: {fit}, {float(of_neuron.explained):.0%}"]}


def _draw_fits(row: Row, label: str, dataset: xr.Dataset, explained: Colors) -> None:
    """Draw frequency and phase, or representation, of every live neuron, sized by amplitude."""
    is_group = _is_group(dataset)
    if is_group:
        x = part_labels(dataset).axis
        y = {"title": "share explained", "range": [-0.05, 1.1], "tickformat": ".0%"}
        title, place = "live neurons", "%{y:.0%} explained"
    else:
        end = dataset.sizes["position"] // 2 + 1
        x = {"title": "frequency ω (cycles over all residues)", "range": [0, end]}
        y = {"title": "phase (rad)", "range": [-3.5, 3.5]}
        y |= {"tickvals": [-np.pi, 0, np.pi], "ticktext": ["−π", "0", "π"]}
        title = "phases of the live neurons"
        place = "ω = %{x}<br>phase %{y:.2f} rad<br>explained %{customdata[2]:.0%}"
    panel = row.panel(f"{label}: {title}", x=x, y=y)

    def dots(now: xr.Dataset) -> dict[str, Any]:
        is_live, amplitude = now.live.to_numpy(), now.amplitude.to_numpy()
        size = 4 + 10 * amplitude / max(amplitude.max(), 1e-30)
        # On a group, shift neurons of the same representation apart.
        shift = 0.6 * (np.arange(len(is_live)) / max(1, len(is_live) - 1) - 0.5) if is_group else 0
        return {
            "x": (now.frequency_of.to_numpy() + shift)[is_live],
            "y": (now.explained if is_group else now.phase).to_numpy()[is_live],
            "customdata": np.stack([now.neuron, now.amplitude, now.explained], 1)[is_live],
            "marker": {"color": now.explained.to_numpy()[is_live], "size": size[is_live]},
        }

    panel.add(
        "scatter",
        run=label,
        at=dots,
        colors=explained,
        mode="markers",
        marker={"line": {"width": 0.5, "color": "#444444"}},
        hover=f"neuron %{{customdata[0]}}<br>{place}<br>amplitude %{{customdata[1]:.3g}}",
    )
    last = dataset.isel(step=-1)
    panel.mark_parts(parts_of_neurons(last.frequency_of.to_numpy()[last.live.to_numpy()]))
