"""Which frequencies do neurons use? Spectra of weights on the input, embedding and output side.

The input side of a neuron is its column of W_E W_in (through attention in a transformer), a number
per residue; the output side its row of W_out W_U, a number per answer. A network that has
generalized uses waves: each neuron holds most of its power |F(ω)|² in one frequency ω, and the
network uses only a few of them (Nanda et al. 2023, arXiv 2301.05217; Minegishi et al. 2023, arXiv
2310.19470, fig. 4).
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from plotly.subplots import make_subplots

from analyses.drawing import SEQUENTIAL, TEMPLATE, run_colors, spread, with_slider
from analyses.measures.fourier import amplitude_spectrum, dominant_frequency, live, power_share
from analyses.measures.paths import (
    InputPath,
    OrderOption,
    input_weights,
    natural_path,
    not_modular,
    residues,
)
from mechgrok.runs import Run

PER_STEP = True


def applies(run: Run) -> str | None:
    """Frequencies mean something only where inputs are residues modulo p."""
    return not_modular(run.task)


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    path: Annotated[InputPath, "from tokens to neurons; auto: attention in a transformer"] = "auto",
    order: Annotated[OrderOption, "of residues; auto: multiplicative for mul and div"] = "auto",
) -> xr.Dataset:
    """Amplitude spectra at every checkpoint, or at the given steps.

    Args:
        run: on a modular task.
        steps: the checkpoints; all unless given.
        path: the input side is W_E W_in (direct) or Σ_h W_E W_V W_O W_in (attention).
        order: the order of the residues along which signals are transformed.

    Returns:
        ``input_amplitude`` and ``output_amplitude [step, neuron, frequency]``: |F(ω)| of each
        neuron's weights; ``embedding_amplitude [step, frequency]``: √Σ_d |F_d(ω)|² over the
        columns d of W_E; ``share [step, neuron]``: share of a neuron's input-side power, ω = 0
        aside, that its strongest frequency holds; ``frequency_of [step, neuron]``: that frequency;
        ``live [step, neuron]``: whether its weights are above 1 % of the largest neuron's;
        ``use [step, frequency]``: the mean over live neurons of each frequency's share.
    """
    steps, along = run.select(steps), residues(run.task, order)
    p = len(along)
    input_side = input_weights(run, steps, path=path)[:, along].transpose(1, 2)
    alive = live(input_side)
    inputs = amplitude_spectrum(input_side)
    share = power_share(inputs.clone(), p)
    outputs = amplitude_spectrum(run.output_side(steps)[..., along])
    embedding = amplitude_spectrum(run.embedding(steps)[:, along].transpose(1, 2))
    variables = {
        "input_amplitude": (("step", "neuron", "frequency"), inputs),
        "output_amplitude": (("step", "neuron", "frequency"), outputs),
        "embedding_amplitude": (("step", "frequency"), embedding.norm(dim=1)),
        "share": (("step", "neuron"), share.amax(-1)),
        "frequency_of": (("step", "neuron"), dominant_frequency(share)),
        "live": (("step", "neuron"), alive),
        "use": (("step", "frequency"), _mean_over(alive, share)),
    }
    return xr.Dataset(
        {name: (dims, tensor.numpy()) for name, (dims, tensor) in variables.items()},
        coords={
            "step": steps,
            "neuron": np.arange(inputs.shape[1]),
            "frequency": np.arange(inputs.shape[2]),
        },
        attrs={
            "p": p,
            "path": natural_path(run) if path == "auto" else path,
            "definition": "|F(ω)|, F(ω) = Σ_x f(x) exp(−2πi ω x / p)",
        },
    )


def _mean_over(alive: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """The mean of ``share`` over the neurons that are alive, per step."""
    weight = alive[..., None] / alive.sum(1)[:, None, None].clamp(min=1)
    return (share.nan_to_num(0) * weight).sum(1)


def finding(dataset: xr.Dataset) -> str:
    """How concentrated the live neurons are at the last step, and on which frequencies."""
    finite = np.isfinite(dataset.input_amplitude).all(("neuron", "frequency")).to_numpy()
    if not finite.any():
        return "the weights are not finite numbers at any step"
    steps = np.flatnonzero(finite)
    last, first = dataset.isel(step=int(steps[-1])), dataset.isel(step=int(steps[0]))
    if not last.live.any():
        return f"step {int(last.step):,}: no neuron is alive"
    if not np.isfinite(_median_share(last)):
        return f"step {int(last.step):,}: live neurons read all residues alike"
    live_shares = last.share.to_numpy()[last.live.to_numpy()]
    use = last.use.to_numpy()
    key = [int(at) for at in np.argsort(use)[::-1] if use[at] > 0.05]
    was = _median_share(first)
    before = f"; {was:.0%} at step {int(first.step):,}" if np.isfinite(was) else ""
    lines = [
        f"step {int(last.step):,}: {len(live_shares)} live neurons hold {_median_share(last):.0%}",
        f"of their power in one frequency (median{before if first.step < last.step else ''}),",
        f"{(live_shares > 0.5).sum()} of them more than half;",
        f"key frequencies {', '.join(map(str, key)) or 'none above 5 % of the power'}",
    ]
    return " ".join(lines)


def draw(
    measured: Mapping[str, xr.Dataset],
    *,
    side: Annotated[Literal["both", "input", "output"], "spectra to show as heat maps"] = "both",
) -> go.Figure:
    """Heat maps of neurons by frequency, shares, and what the network uses, with a slider."""
    sides = ("input", "output") if side == "both" else (side,)
    n_runs, n_sides = len(measured), len(sides)
    last, right = n_runs + 1, n_sides + 1
    height = 400 * n_runs + 480
    titles = [
        f"{label}: {title}"
        for label, dataset in measured.items()
        for title in [_NAME[each, dataset.path] for each in sides] + ["in one frequency"]
    ]
    figure = make_subplots(
        last,
        right,
        column_widths=[1] * n_sides + [0.7],
        row_heights=[1] * n_runs + [0.6],
        subplot_titles=[
            *titles,
            "neurons' use of frequencies",
            *["embedding W_E"] * (n_sides - 1),
            "over training",
        ],
        vertical_spacing=110 / (height - 240),
        horizontal_spacing=0.08,
    )
    steps = [set(dataset.step.to_numpy().tolist()) for dataset in measured.values()]
    stops = spread(sorted(set.intersection(*steps) or set.union(*steps)))
    colors = run_colors(measured)

    def at(step: int) -> list[tuple[go.Figure, int, int]]:
        """Every trace that the slider changes, with its row and column."""
        traces = []
        for row, (label, dataset) in enumerate(measured.items(), 1):
            now = dataset.sel(step=step, method="nearest")
            traces += [
                (_spectra(now, each, column), row, column) for column, each in enumerate(sides, 1)
            ]
            traces.append((_shares(now, colors[label]), row, right))
            traces.append((_bars(now.use, label, colors[label]), last, 1))
            if n_sides > 1:
                traces.append((_bars(now.embedding_amplitude, label, colors[label]), last, 2))
            traces.append((_where(now, colors[label]), last, right))
        return traces

    for trace, row, column in at(stops[-1]):
        figure.add_trace(trace, row=row, col=column)
    for label, dataset in measured.items():
        figure.add_trace(_concentration(dataset, label, colors[label]), row=last, col=right)
    _label_axes(figure, measured, sides)
    periodic = all(_median_share(dataset.isel(step=-1)) > 0.5 for dataset in measured.values())
    figure.update_layout(
        template=TEMPLATE,
        height=height,
        margin={"t": 130, "b": 110},
        title={
            "text": "Neurons become periodic: each holds its power in one frequency"
            if periodic
            else "Spectra of the neurons' weights",
            "subtitle": {
                "text": "a row is a neuron, a column a frequency; rows ordered by strongest "
                "frequency, dead neurons last and grey"
            },
            "y": 1 - 25 / height,
            "yanchor": "top",
        },
        legend={"x": 1, "xanchor": "right", "y": 1 + 45 / (height - 240), "yanchor": "bottom"},
        showlegend=n_runs > 1,
        barmode="group",
        bargap=0.15,
    )
    return with_slider(figure, stops, lambda step: [trace for trace, _, _ in at(step)])


_NAME = {
    ("input", "direct"): "input side W_E W_in",
    ("input", "attention"): "input side W_E W_V W_O W_in",
    ("output", "direct"): "output side W_out W_U",
    ("output", "attention"): "output side W_out W_U",
}


def _order(now: xr.Dataset) -> np.ndarray:
    """Neurons by strongest frequency, the most concentrated first, dead ones last."""
    return np.lexsort((-now.share.to_numpy(), now.frequency_of.to_numpy(), ~now.live.to_numpy()))


def _spectra(now: xr.Dataset, side: str, column: int) -> go.Heatmap:
    order = _order(now)
    amplitude = now[f"{side}_amplitude"].to_numpy()[order, 1:].astype(np.float32)
    return go.Heatmap(
        z=amplitude,
        x=now.frequency.to_numpy()[1:],
        customdata=np.repeat(order[:, None], amplitude.shape[1], axis=1),
        coloraxis=f"coloraxis{'' if column == 1 else column}",
        hovertemplate="neuron %{customdata}<br>ω = %{x}<br>|F| %{z:.3g}<extra></extra>",
    )


def _shares(now: xr.Dataset, color: str) -> go.Bar:
    order = _order(now)
    alive = now.live.to_numpy()[order]
    return go.Bar(
        x=now.share.to_numpy()[order],
        orientation="h",
        showlegend=False,
        customdata=np.stack([order, now.frequency_of.to_numpy()[order]], axis=1),
        marker={"color": [color if on else "#BBBBBB" for on in alive], "line": {"width": 0}},
        hovertemplate="neuron %{customdata[0]}<br>ω = %{customdata[1]}<br>"
        "share %{x:.1%}<extra></extra>",
    )


def _bars(spectrum: xr.DataArray, label: str, color: str) -> go.Bar:
    """One bar for each frequency above 0."""
    value = "mean share %{y:.1%}" if spectrum.name == "use" else "|F| %{y:.3g}"
    return go.Bar(
        x=spectrum.frequency.to_numpy()[1:],
        y=spectrum.to_numpy()[1:],
        name=label,
        legendgroup=label,
        showlegend=spectrum.name == "use",
        marker={"color": color},
        hovertemplate=f"{label}<br>ω = %{{x}}<br>{value}<extra></extra>",
    )


def _where(now: xr.Dataset, color: str) -> go.Scatter:
    return go.Scatter(
        x=[int(now.step)],
        y=[_median_share(now)],
        mode="markers",
        marker={"color": color, "size": 10},
        showlegend=False,
        hoverinfo="skip",
    )


def _concentration(dataset: xr.Dataset, label: str, color: str) -> go.Scatter:
    return go.Scatter(
        x=dataset.step.to_numpy(),
        y=[_median_share(dataset.isel(step=at)) for at in range(dataset.sizes["step"])],
        mode="lines",
        line={"color": color, "width": 2},
        showlegend=False,
        hovertemplate=f"{label}<br>step %{{x:,}}<br>median share %{{y:.1%}}<extra></extra>",
    )


def _median_share(now: xr.Dataset) -> float:
    """The median share of the live neurons at one step; NaN where none has a spectrum."""
    shares = now.share.to_numpy()[now.live.to_numpy()]
    known = shares[np.isfinite(shares)]
    return float(np.median(known)) if known.size else float("nan")


def _label_axes(
    figure: go.Figure, measured: Mapping[str, xr.Dataset], sides: Sequence[str]
) -> None:
    """Axis titles, shared ranges, and one colour bar for each side's heat maps."""
    last, right = len(measured) + 1, len(sides) + 1
    percent = {"range": [0, 1.03], "tickformat": ".0%"}
    figure.update_annotations(font_size=14)
    for row in range(1, last):
        figure.update_yaxes(autorange="reversed", showticklabels=False, ticks="", row=row)
        figure.update_yaxes(title="neuron", row=row, col=1)
        figure.update_xaxes(title="frequency ω", title_standoff=6, row=row)
        figure.update_xaxes(title="share of power", **percent, row=row, col=right)
    figure.update_xaxes(title="frequency ω", title_standoff=6, row=last, col=1)
    figure.update_yaxes(title="mean share of power", tickformat=".0%", row=last, col=1)
    if len(sides) > 1:
        figure.update_xaxes(title="frequency ω", title_standoff=6, row=last, col=2)
        figure.update_yaxes(title="|F(ω)| over d_model", row=last, col=2)
    figure.update_xaxes(title="training step", title_standoff=6, row=last, col=right)
    figure.update_yaxes(title="median share", **percent, row=last, col=right)
    bottom, top = (figure.get_subplot(row, 1).yaxis.domain for row in (last - 1, 1))
    for column, side in enumerate(sides, 1):
        largest = max(float(ds[f"{side}_amplitude"][-1, :, 1:].max()) for ds in measured.values())
        axis = {
            "colorscale": SEQUENTIAL,
            "cmin": 0,
            "cmax": largest,
            "colorbar": {
                "title": {"text": "|F(ω)|", "side": "right"},
                "x": figure.get_subplot(1, column).xaxis.domain[1] + 0.003,
                "xanchor": "left",
                "thickness": 10,
                "len": top[1] - bottom[0],
                "y": (top[1] + bottom[0]) / 2,
            },
        }
        figure.update_layout({f"coloraxis{'' if column == 1 else column}": axis})
