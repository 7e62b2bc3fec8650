"""What does each neuron read of each residue? Its input weights as a wave with frequency and phase.

A neuron's input weights are its column of W_E W_in: one number per residue. In a network that has
generalized they are cosines, neurons share a few frequencies, and within a frequency the phases
spread over the circle (Minegishi et al. 2023, arXiv 2310.19470, version 2, fig. 4; Nanda et al.
2023, arXiv 2301.05217). In a transformer the operands come through attention, and the weights are
Σ_h W_E W_V W_O W_in over the heads h.

On a group that is not cyclic there are no phases: in place of the cosine stands the part of a
neuron's weights that its strongest irreducible representation makes up.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from mechgrok.analyses.drawing import DIVERGING, Colors, Panels, Row, representatives
from mechgrok.analyses.measures.finite import and_left_out, looked_at
from mechgrok.analyses.measures.fourier import CosineFit, cosine_fit, dominant_frequency, live
from mechgrok.analyses.measures.harmonics import (
    Representations,
    harmonics,
    no_harmonics,
    part_axis,
    part_coordinates,
    part_names,
    part_units,
    part_word,
    part_words,
)
from mechgrok.analyses.measures.places import spread
from mechgrok.analyses.measures.residues import OrderOption
from mechgrok.results.variables import Variable, described
from mechgrok.runs import Run

#: Checkpoints that are measured unless steps are given.
_STOPS = 20
#: Neurons drawn as curves, the strongest ones, of as many frequencies as possible.
_CURVES = 4
#: Points per residue at which a fitted wave is drawn.
_FINE = 8
#: Runs beside one another.
_ACROSS = 3
_FIT = ("frequency_of", "amplitude", "phase", "offset", "explained")


def applies(run: Run) -> str | None:
    """Waves exist where inputs are residues modulo p, and their like on the elements of a group."""
    return no_harmonics(run.task)


VARIABLES = {
    "weight": Variable(
        "step, neuron, position", "weight", "what the neuron reads of the residue at a position"
    ),
    "fit": Variable(
        "step, neuron, position",
        "weight",
        "of a group: offset + Σ_ij c_ij ρ_ij(g), ρ the representation that explains most",
    ),
    "frequency_of": Variable(
        "step, neuron",
        "{units of a frequency}",
        "k of the least-squares fit offset + amplitude · cos(2πk position / n − phase); of a "
        "group the representation that explains most",
    ),
    "amplitude": Variable(
        "step, neuron",
        "weight",
        "that of the fitted cosine; of a group √2 · root mean square of fit − offset",
    ),
    "phase": Variable("step, neuron", "radians", "that of the fitted cosine, in (−π, π]"),
    "offset": Variable("step, neuron", "weight", "that of the fit: the mean of the weights"),
    "explained": Variable(
        "step, neuron",
        "share of variance",
        "share of the variance of the neuron's weights that the fit accounts for",
    ),
    "live": Variable(
        "step, neuron", "none", "whether the neuron's input weights are above 1 % of the largest's"
    ),
    "position": Variable("position", "none", "a place in the chosen order of residues"),
    "residue": Variable("position", "none", "the residue at the position, or the group's element"),
}


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    path: Annotated[str, "from tokens to neurons; auto: attention in a transformer"] = "auto",
    order: Annotated[OrderOption, "of the residues; auto: multiplicative for mul and div"] = "auto",
) -> xr.Dataset:
    """Input weights and the cosine that fits each neuron best, at 20 checkpoints or at ``steps``.

    Returns:
        `VARIABLES`.
    """
    steps, of_steps = looked_at(run, steps, partial(spread, count=_STOPS))
    parts = harmonics(run.task, order)
    tokens = parts.tokens
    weights = run.input_side(steps, path=path)[:, tokens].transpose(1, 2)
    residue: Any = tokens.numpy()
    if isinstance(parts, Representations):
        values, of_parts, laid = _on_a_group(weights, parts), part_coordinates(parts), "group"
        residue = run.task.vocabulary[: parts.n]
    else:
        values, of_parts = _waves(weights), {}
        laid = "additive" if parts.n == run.task.d_output else "multiplicative"
    return described(
        VARIABLES,
        {
            name: tensor.numpy()
            for name, tensor in {"weight": weights, **values, "live": live(weights)}.items()
        },
        coords={
            "step": steps,
            "neuron": np.arange(weights.shape[1]),
            "position": np.arange(parts.n),
            "residue": residue,
            **of_parts,
        },
        attrs={
            "path": run.wiring.path_name(path),
            **of_steps,
            "order": laid,
        },
        words=part_units(parts),
    )


def _waves(weights: Float[Tensor, "step neuron position"]) -> dict[str, Tensor]:
    """The cosine that fits each neuron's weights best."""
    fit = cosine_fit(weights)
    return {
        "frequency_of": fit.frequency,
        "amplitude": fit.amplitude,
        "phase": fit.phase,
        "offset": fit.offset,
        "explained": fit.explained,
    }


def _on_a_group(
    weights: Float[Tensor, "step neuron position"], parts: Representations
) -> dict[str, Tensor]:
    """The part of each neuron's weights that its strongest representation makes up."""
    share = parts.power_share(parts.amplitude(weights))
    strongest, mean = dominant_frequency(share), weights.mean(-1, keepdim=True)
    fit = mean.expand_as(weights).clone()
    for part in strongest.unique().tolist():
        basis = parts.basis(part).to(weights.dtype)
        made_up = mean + (weights @ basis) @ basis.T
        fit = torch.where((strongest == part)[..., None], made_up, fit)
    amplitude = (fit - mean).square().mean(-1).mul(2).sqrt()
    return {
        "fit": fit,
        "frequency_of": strongest,
        "amplitude": amplitude,
        "offset": mean[..., 0],
        "explained": share.amax(-1),
    }


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
    called = part_names(dataset) if _is_group(dataset) else None
    names = ", ".join(
        f"{called[frequency] if called else frequency} ({n})" for n, frequency in strongest[:6]
    )
    before = f"; {first:.0%} at step {int(dataset.step[0]):,}" if np.isfinite(first) else ""
    if dataset.sizes["step"] == 1:
        before = ""
    text = (
        f"one {_one(dataset)} explains {last:.0%} of a live neuron's input weights at step "
        f"{int(at.step):,} (median{before}); {part_words(dataset)} (neurons): {names}"
        + (" …" if len(strongest) > 6 else "")
    )
    return and_left_out(text, dataset)


def _is_group(dataset: xr.Dataset) -> bool:
    return part_word(dataset) == "representation"


def _one(dataset: xr.Dataset) -> str:
    """What is fitted to a neuron's weights."""
    return "representation" if _is_group(dataset) else "cosine"


def _explained(at: xr.Dataset) -> float:
    """The median share of variance over the live neurons at one step; NaN where none varies."""
    shares = at.explained.to_numpy()[at.live.to_numpy()]
    known = shares[np.isfinite(shares)]
    return float(np.median(known)) if known.size else float("nan")


def draw(measured: Mapping[str, xr.Dataset]) -> go.Figure:
    """Columns of runs: all neurons, the strongest as curves with their fits, the phases."""
    measured = representatives(measured)
    figure = Panels(measured, title=_title(measured), subtitle=_subtitle(measured))
    explained = figure.colors("share explained", 0, 1, tickformat=".0%")
    for first in range(0, len(measured), _ACROSS):
        together = list(measured.items())[first : first + _ACROSS]
        row = figure.row(height=340)
        for label, dataset in together:
            _map(figure, row, label, dataset)
        strongest = {label: _strongest(dataset) for label, dataset in together}
        for at in range(max(map(len, strongest.values()))):
            row = figure.row(height=95)
            for label, dataset in together:
                if at < len(strongest[label]):
                    _curve(row, label, dataset, strongest[label], at)
                else:
                    row.empty()
        row = figure.row(height=200)
        for label, dataset in together:
            if _is_group(dataset):
                _representations(row, label, dataset, explained)
            else:
                _phases(row, label, dataset, explained)
    return figure.draw()


def _row_order(dataset: xr.Dataset) -> np.ndarray:
    """Neurons by the frequency and phase that they end with, dead ones last, at every step."""
    last = dataset.isel(step=-1)
    within = -last.explained.to_numpy() if _is_group(dataset) else last.phase.to_numpy()
    keys = (within, last.frequency_of.to_numpy(), ~last.live.to_numpy())
    return np.lexsort(keys)


def _strongest(dataset: xr.Dataset) -> list[int]:
    """The neurons of largest amplitude at the last step, each of another frequency if it can be."""
    last = dataset.isel(step=-1)
    falling = np.argsort(-last.amplitude.to_numpy())
    frequency = last.frequency_of.to_numpy()
    leaders = [n for at, n in enumerate(falling) if frequency[n] not in frequency[falling[:at]]]
    others = [n for n in falling if n not in leaders]
    return [int(n) for n in (leaders + others)[:_CURVES]]


# --- the panels ---------------------------------------------------------------------------------


def _residues(dataset: xr.Dataset) -> dict[str, Any]:
    """The axis of residues, in the order in which waves go."""
    words = {"additive": "residue", "group": "element, in the group's order"}.get(
        dataset.attrs["order"], "discrete logarithm of the residue"
    )
    return {"title": words, "range": [-0.5, dataset.sizes["position"] - 0.5]}


def _token(dataset: xr.Dataset) -> str:
    return "element" if _is_group(dataset) else "residue"


def _map(figure: Panels, row: Row, label: str, dataset: xr.Dataset) -> None:
    """The input weights of all neurons, a row each, in one order at all steps."""
    order, top = _row_order(dataset), _typical_top(dataset)
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


def _curve(row: Row, label: str, dataset: xr.Dataset, neurons: Sequence[int], at: int) -> None:
    """A neuron's weights, the wave fitted to them, and what the fit says in the panel's corner."""
    neuron = neurons[at]
    n, top = dataset.sizes["position"], 1.6 * _top(dataset, neuron)
    fine = torch.linspace(0, n - 1, _FINE * n)
    y = {"title": "weight", "range": [-top, top], "nticks": 4}
    hidden = {"title": "", "showticklabels": False} if at < len(neurons) - 1 else {}
    panel = row.panel(x=_residues(dataset) | hidden, y=y)

    def wave(now: xr.Dataset) -> dict[str, Any]:
        if _is_group(dataset):
            return {"y": now.fit.sel(neuron=neuron).to_numpy().astype(np.float32)}
        fit = CosineFit(*(torch.tensor(now[name].sel(neuron=neuron).to_numpy()) for name in _FIT))
        return {"y": fit.curve(fine, n).numpy().astype(np.float32)}

    def words(now: xr.Dataset) -> dict[str, Any]:
        one = now.sel(neuron=neuron)
        if _is_group(dataset):
            name = part_names(dataset)[int(one.frequency_of)]
            return {"text": [f"neuron {neuron}: {name}, {float(one.explained):.0%} explained"]}
        text = (
            f"neuron {neuron}: frequency {int(one.frequency_of)}, "
            f"phase {_signed(float(one.phase))}, {float(one.explained):.0%} explained"
        )
        return {"text": [text]}

    panel.add(
        "scatter",
        run=label,
        at=lambda now: {"y": now.weight.sel(neuron=neuron).to_numpy().astype(np.float32)},
        x=dataset.position,
        customdata=dataset.residue,
        mode="markers",
        marker={"size": 5},
        hover=f"neuron {neuron}<br>{_token(dataset)} %{{customdata}}<br>weight %{{y:.3g}}",
    )
    line = {"color": "#222222", "width": 1}
    x = dataset.position if _is_group(dataset) else fine.numpy()
    panel.add("scatter", run=label, at=wave, x=x, mode="lines", line=line, color="#222")
    panel.add(
        "scatter",
        run=label,
        at=words,
        x=[n - 1],
        y=[top],
        mode="text",
        textposition="bottom left",
        textfont={"size": 11},
    )


def _phases(row: Row, label: str, dataset: xr.Dataset, explained: Colors) -> None:
    """Frequency and phase of every live neuron, sized by amplitude."""
    panel = row.panel(
        f"{label}: phases of the live neurons",
        x={
            "title": "frequency ω (cycles over all residues)",
            "range": [0, dataset.sizes["position"] // 2 + 1],
        },
        y={
            "title": "phase (rad)",
            "range": [-3.5, 3.5],
            "tickvals": [-np.pi, 0, np.pi],
            "ticktext": ["−π", "0", "π"],
        },
    )

    def dots(now: xr.Dataset) -> dict[str, Any]:
        alive, amplitude = now.live.to_numpy(), now.amplitude.to_numpy()
        size = 4 + 10 * amplitude / max(amplitude.max(), 1e-30)
        return {
            "x": now.frequency_of.to_numpy()[alive],
            "y": now.phase.to_numpy()[alive],
            "customdata": np.stack([now.neuron, now.amplitude, now.explained], 1)[alive],
            "marker": {"color": now.explained.to_numpy()[alive], "size": size[alive]},
        }

    panel.add(
        "scatter",
        run=label,
        at=dots,
        colors=explained,
        mode="markers",
        marker={"line": {"width": 0.5, "color": "#444444"}},
        hover="neuron %{customdata[0]}<br>ω = %{x}<br>phase %{y:.2f} rad<br>"
        "amplitude %{customdata[1]:.3g}<br>explained %{customdata[2]:.0%}",
    )


def _representations(row: Row, label: str, dataset: xr.Dataset, explained: Colors) -> None:
    """The representation of every live neuron and what it explains, sized by amplitude."""
    share = {"title": "share explained", "range": [-0.05, 1.1], "tickformat": ".0%"}
    panel = row.panel(f"{label}: live neurons", x=part_axis(dataset), y=share)

    def dots(now: xr.Dataset) -> dict[str, Any]:
        alive, amplitude = now.live.to_numpy(), now.amplitude.to_numpy()
        size = 4 + 10 * amplitude / max(amplitude.max(), 1e-30)
        # Side by side, or neurons of one representation would hide one another.
        aside = 0.6 * (np.arange(len(alive)) / max(1, len(alive) - 1) - 0.5)
        return {
            "x": (now.frequency_of.to_numpy() + aside)[alive],
            "y": now.explained.to_numpy()[alive],
            "customdata": np.stack([now.neuron, now.amplitude], 1)[alive],
            "marker": {"color": now.explained.to_numpy()[alive], "size": size[alive]},
        }

    panel.add(
        "scatter",
        run=label,
        at=dots,
        colors=explained,
        mode="markers",
        marker={"line": {"width": 0.5, "color": "#444444"}},
        hover="neuron %{customdata[0]}<br>%{y:.0%} explained<br>amplitude %{customdata[1]:.3g}",
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
    if all(_is_group(dataset) for dataset in measured.values()):
        return "Input weights of the neurons and the representations that explain most of them"
    if min(last) > 0.75:
        return "Neurons read residues as waves: their input weights are cosines"
    if max(last) < 0.4:
        return "Input weights of the neurons are no waves yet"
    return "Input weights of the neurons and the cosines that fit them best"


def _subtitle(measured: Mapping[str, xr.Dataset]) -> str:
    ends = "; ".join(
        f"{label}: one {_one(dataset)} explains {_explained(dataset.isel(step=-1)):.0%} of a live "
        f"neuron (median, step {int(dataset.step[-1]):,})"
        for label, dataset in measured.items()
    )
    return (
        f"{ends}<br>rows ordered by what neurons end with (frequency and phase, or representation);"
        " below, dots sized by amplitude, yellow where the fit explains all"
    )


def _signed(radians: float) -> str:
    """−2.89 or +0.44, with a minus as long as the plus."""
    return f"{radians:+.2f}".replace("-", "−")
