"""Which frequencies do neurons use? Spectra of weights on the input, embedding and output side.

The input side of a neuron is its column of W_E W_in, one number per residue; the output side its
row of W_out W_U, one number per answer. A network that has generalized uses waves: each neuron
holds most of its power |F(ω)|² in one frequency ω, and the network uses only a few of them
(Nanda et al. 2023, arXiv 2301.05217; Minegishi et al. 2023, arXiv 2310.19470, fig. 4).
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from plotly.subplots import make_subplots

from analyses.drawing import SEQUENTIAL, TEMPLATE, run_colors, spread, with_slider
from mechgrok.fourier import amplitude_spectrum, dominant_frequency, live, power_share
from mechgrok.runs import Run
from mechgrok.tasks import Task


def applies(run: Run) -> str | None:
    """Frequencies mean something only where inputs are residues modulo p."""
    return None if run.task.modular else f"{run.task.name} is not modular arithmetic."


def measure(run: Run, *, steps: Sequence[int] | None = None) -> xr.Dataset:
    """Amplitude spectra at every checkpoint, or at the given steps.

    Returns:
        ``input_amplitude`` and ``output_amplitude [step, neuron, frequency]``: |F(ω)| of each
        neuron's weights; ``embedding_amplitude [step, frequency]``: √Σ_d |F_d(ω)|² over the
        columns d of W_E; ``share [step, neuron]``: share of a neuron's input-side power, ω = 0
        aside, that its strongest frequency holds; ``frequency_of [step, neuron]``: that frequency;
        ``live [step, neuron]``: whether its weights are above 1 % of the largest neuron's;
        ``use [step, frequency]``: the mean over live neurons of each frequency's share.
    """
    task: Task = run.task
    p = task.d_output
    steps = run.select(steps)
    input_side = run.input_side(steps)[:, :p].transpose(1, 2)
    alive = live(input_side)
    inputs = amplitude_spectrum(input_side)
    share = power_share(inputs.clone(), p)
    outputs = amplitude_spectrum(run.output_side(steps))
    variables = {
        "input_amplitude": (("step", "neuron", "frequency"), inputs),
        "output_amplitude": (("step", "neuron", "frequency"), outputs),
        "share": (("step", "neuron"), share.amax(-1)),
        "frequency_of": (("step", "neuron"), dominant_frequency(share)),
        "live": (("step", "neuron"), alive),
        "use": (("step", "frequency"), _mean_over(alive, share)),
    }
    if "W_E" in {name.rpartition(".")[2] for name in run.weight_names}:
        embedding = run.weights("W_E", steps)[:, :p].transpose(1, 2)
        variables["embedding_amplitude"] = (
            ("step", "frequency"),
            amplitude_spectrum(embedding).norm(dim=1),
        )
    return xr.Dataset(
        {name: (dims, tensor.numpy()) for name, (dims, tensor) in variables.items()},
        coords={
            "step": steps,
            "neuron": np.arange(inputs.shape[1]),
            "frequency": np.arange(inputs.shape[2]),
        },
        attrs={"p": p, "definition": "|F(ω)|, F(ω) = Σ_x f(x) exp(−2πi ω x / p)"},
    )


def _mean_over(alive: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """The mean of ``share`` over the neurons that are alive, per step."""
    weight = alive[..., None] / alive.sum(1)[:, None, None].clamp(min=1)
    return (share.nan_to_num(0) * weight).sum(1)


def finding(dataset: xr.Dataset) -> str:
    """How concentrated the live neurons are at the last step, and on which frequencies."""
    last, first = dataset.isel(step=-1), dataset.isel(step=0)
    live_shares = last.share.to_numpy()[last.live.to_numpy()]
    use = last.use.to_numpy()
    key = [int(at) for at in np.argsort(use)[::-1] if use[at] > 0.05]
    concentration = f"{np.median(live_shares):.0%} of their power in one frequency (median;"
    return (
        f"step {int(last.step):,}: {len(live_shares)} live neurons hold {concentration} "
        f"{np.median(first.share):.0%} at step {int(first.step):,}), {(live_shares > 0.5).sum()} "
        f"of them more than half; key frequencies "
        f"{', '.join(map(str, key)) or 'none above 5 % of the power'}"
    )


def draw(
    measured: Mapping[str, xr.Dataset],
    *,
    side: Annotated[Literal["both", "input", "output"], "spectra to show as heat maps"] = "both",
) -> go.Figure:
    """Heat maps of neurons by frequency, shares, and what the network uses, with a slider."""
    sides = ["input", "output"] if side == "both" else [side]
    colors = run_colors(measured)
    n_runs, n_sides = len(measured), len(sides)
    names = {"input": "input side W_E W_in", "output": "output side W_out W_U"}
    titles = [
        title
        for label in measured
        for title in [f"{label}: {names[each]}" for each in sides] + ["power in one frequency"]
    ]
    figure = make_subplots(
        n_runs + 1,
        n_sides + 1,
        specs=[[{}] * (n_sides + 1)] * n_runs
        + [[{"colspan": n_sides}, *[None] * (n_sides - 1), {}]],
        column_widths=[1] * n_sides + [0.55],
        row_heights=[1] * n_runs + [0.55],
        subplot_titles=[*titles, "the network's use of frequencies", "over training"],
        vertical_spacing=0.36 / (n_runs + 1.5),
        horizontal_spacing=0.07,
    )
    common = sorted(
        set.intersection(*(set(ds.step.to_numpy().tolist()) for ds in measured.values()))
    )
    stops = spread(common or measured[next(iter(measured))].step.to_numpy().tolist())

    def changing(step: int) -> list[dict]:
        """The traces that follow the slider: heat maps and shares per run, use per run, a line."""
        traces: list[dict] = []
        for label, dataset in measured.items():
            at = dataset.sel(step=step, method="nearest")
            order = np.lexsort(
                (-at.share.to_numpy(), at.frequency_of.to_numpy(), ~at.live.to_numpy())
            )
            for each in sides:
                traces.append(
                    {
                        "type": "heatmap",
                        "z": at[f"{each}_amplitude"].to_numpy()[order, 1:].astype(np.float32),
                        "customdata": np.repeat(order[:, None], dataset.sizes["frequency"] - 1, 1),
                    }
                )
            traces.append(
                {
                    "type": "bar",
                    "x": at.share.to_numpy()[order],
                    "customdata": np.stack([order, at.frequency_of.to_numpy()[order]], 1),
                    "marker": {
                        "color": [
                            colors[label] if on else "#BBBBBB" for on in at.live.to_numpy()[order]
                        ]
                    },
                }
            )
        for dataset in measured.values():
            traces.append({"type": "bar", "y": dataset.use.sel(step=step, method="nearest")[1:]})
        for dataset in measured.values():
            at = dataset.sel(step=step, method="nearest")
            traces.append({"type": "scatter", "x": [int(at.step)], "y": [_median_share(at)]})
        return traces

    row_of = {label: row for row, label in enumerate(measured, 1)}
    traces = iter(changing(stops[-1]))
    frequency = measured[next(iter(measured))].frequency.to_numpy()[1:]
    for label, row in row_of.items():
        for column, _ in enumerate(sides, 1):
            figure.add_trace(
                go.Heatmap(
                    next(traces),
                    x=frequency,
                    coloraxis=f"coloraxis{'' if column == 1 else column}",
                    hovertemplate="neuron %{customdata}<br>ω = %{x}<br>|F| %{z:.3g}<extra></extra>",
                ),
                row=row,
                col=column,
            )
        figure.add_trace(
            go.Bar(
                next(traces),
                orientation="h",
                showlegend=False,
                hovertemplate="neuron %{customdata[0]}<br>frequency %{customdata[1]}<br>"
                "share %{x:.1%}<extra></extra>",
            ),
            row=row,
            col=n_sides + 1,
        )
    last = n_runs + 1
    for label in measured:
        figure.add_trace(
            go.Bar(
                next(traces),
                x=frequency,
                name=label,
                legendgroup=label,
                marker={"color": colors[label]},
                hovertemplate=f"{label}<br>ω = %{{x}}<br>mean share %{{y:.1%}}<extra></extra>",
            ),
            row=last,
            col=1,
        )
    for label in measured:
        figure.add_trace(
            go.Scatter(
                next(traces),
                mode="markers",
                marker={"color": colors[label], "size": 10},
                showlegend=False,
                hoverinfo="skip",
            ),
            row=last,
            col=n_sides + 1,
        )
    for label, dataset in measured.items():
        figure.add_trace(
            go.Scatter(
                x=dataset.step,
                y=[_median_share(dataset.sel(step=step)) for step in dataset.step],
                line={"color": colors[label], "width": 2},
                name=label,
                legendgroup=label,
                showlegend=False,
                hovertemplate=f"{label}<br>step %{{x:,}}<br>median share %{{y:.1%}}<extra></extra>",
            ),
            row=last,
            col=n_sides + 1,
        )
    _label(figure, measured, sides)
    figure.update_layout(
        template=TEMPLATE,
        height=430 * n_runs + 330,
        title={
            "text": "Neurons become periodic: each row is a neuron, each column a frequency",
            "subtitle": {"text": "ordered by strongest frequency; dead neurons grey, at the top"},
        },
        legend={"x": 1, "xanchor": "right", "y": 1.0, "yanchor": "bottom"},
        bargap=0.15,
    )
    return with_slider(figure, stops, changing)


def _median_share(at: xr.Dataset) -> float:
    """The median share of the live neurons at one step."""
    shares = at.share.to_numpy()[at.live.to_numpy()]
    return float(np.median(shares)) if len(shares) else float("nan")


def _label(figure: go.Figure, measured: Mapping[str, xr.Dataset], sides: Sequence[str]) -> None:
    """Axis titles, shared ranges, and one colour bar for each side's heat maps."""
    n_runs, n_sides = len(measured), len(sides)
    for row in range(1, n_runs + 1):
        for column in range(1, n_sides + 1):
            figure.update_xaxes(title="frequency ω", row=row, col=column)
        figure.update_yaxes(title="neuron", showticklabels=False, row=row, col=1)
        for column in range(2, n_sides + 2):
            figure.update_yaxes(showticklabels=False, row=row, col=column)
        figure.update_xaxes(
            title="share of power", range=[0, 1], tickformat=".0%", row=row, col=n_sides + 1
        )
    figure.update_xaxes(title="frequency ω", row=n_runs + 1, col=1)
    figure.update_yaxes(title="mean share of power", tickformat=".0%", row=n_runs + 1, col=1)
    figure.update_xaxes(title="training step", row=n_runs + 1, col=n_sides + 1)
    figure.update_yaxes(
        title="median share", range=[0, 1], tickformat=".0%", row=n_runs + 1, col=n_sides + 1
    )
    for column, side in enumerate(sides, 1):
        top = max(float(ds[f"{side}_amplitude"][-1, :, 1:].max()) for ds in measured.values())
        axis = f"coloraxis{'' if column == 1 else column}"
        domain = figure.get_subplot(1, column).xaxis.domain
        figure.update_layout(
            {
                axis: {
                    "colorscale": SEQUENTIAL,
                    "cmin": 0,
                    "cmax": top,
                    "colorbar": {
                        "title": {"text": "|F(ω)|", "side": "right"},
                        "x": domain[1] + 0.003,
                        "xanchor": "left",
                        "thickness": 10,
                        "len": 0.8 / (n_runs + 0.55),
                        "y": 1,
                        "yanchor": "top",
                    },
                }
            }
        )
