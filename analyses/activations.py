"""What does each neuron compute? Its activation over all pairs (a, b), and the answers it pushes.

A neuron of a network that has generalized fires in a pattern of one frequency: its activation over
the p × p grid is made of waves of w_k a, w_k b and their products (Nanda et al. 2023, arXiv
2301.05217, who assign a neuron to a frequency by the share of variance that these explain), and
the answers it pushes are a wave of the same frequency. In a transformer the heads' attention over
the grid is measured in the same way.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float, Integer
from plotly.subplots import make_subplots
from torch import Tensor

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
from analyses.measures.fourier import grid_share
from analyses.measures.residues import OrderOption, residues
from mechgrok.runs import Run
from mechgrok.tasks.modular import ModularArithmetic

#: Checkpoints that are measured unless steps are given.
_STOPS = 12


def applies(run: Run) -> str | None:
    """A grid of activations needs two operands and nothing else."""
    if isinstance(run.task, ModularArithmetic):
        return None
    return f"{run.task.name} is not one modular operation on two residues."


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    neurons: Annotated[int, "neurons whose grids are kept: the most active of each frequency"] = 4,
    order: Annotated[OrderOption, "of the residues; auto: multiplicative for mul and div"] = "auto",
) -> xr.Dataset:
    """Activations over the grid of all (a, b), at 12 checkpoints or at ``steps``.

    The grid is what the network does on all pairs, also on those that the task leaves out (b < a
    of unordered pairs is the mirror image in an MLP, but new to a transformer).

    Returns:
        ``activation [step, shown, a, b]``: hook_post of the last layer's ``shown`` neurons at the
        last position; ``transform [step, shown, i, j]``: the amplitude of its two-dimensional
        Fourier transform, |Σ_ab f(a, b) exp(−2πi (i a + j b) / n)| / n², i from 0 to ⌊n/2⌋, j
        from −⌊(n−1)/2⌋ to ⌊n/2⌋; ``push [step, shown, answer]``: the row of W_out W_U, by which the
        neuron's activation enters every logit. For every neuron ``variance``, ``frequency_of`` and
        ``explained [step, neuron]``: the variance of its activation over the grid, the frequency
        that explains most of it (`fourier.grid_share`) and that share; NaN, and frequency 0, for
        one that never changes. For a transformer ``attention [step, head, source, a, b]``: the
        weight that the last position gives the operands a and b (``source``), and ``head_share
        [step, head, frequency]``: the share of the variance of the attention to a that each
        frequency explains.
    """
    asked = spread(run.steps, _STOPS) if steps is None else run.select(steps)
    steps = finite_steps(run, asked)
    task = run.task
    assert isinstance(task, ModularArithmetic)
    tokens = residues(task, order)
    n = len(tokens)
    grids = [_grids(run, step, task, tokens) for step in steps]
    share = torch.stack([grid_share(post) for post, _ in grids])
    variance = torch.stack([post.flatten(1).var(1, correction=0) for post, _ in grids])
    frequency_of = share.nan_to_num(0).argmax(-1)
    shown = _most_active(variance[-1], frequency_of[-1], neurons)
    activation = torch.stack([post[shown] for post, _ in grids])
    each, cells = ("step", "neuron"), ("step", "shown", "a", "b")
    push = run.output_side(steps)[:, shown][..., tokens]
    variables: dict[str, tuple[tuple[str, ...], Tensor, str]] = {
        "activation": (cells, activation.float(), "activation"),
        "transform": (("step", "shown", "i", "j"), _transform(activation).float(), "activation"),
        "push": (("step", "shown", "answer"), push, "logit"),
        "variance": (each, variance, "activation squared"),
        "frequency_of": (each, frequency_of, f"cycles per {n}"),
        "explained": (each, share.amax(-1), "share of variance"),
    }
    coords: dict[str, Any] = {
        "step": steps,
        "neuron": np.arange(variance.shape[1]),
        "shown": shown,
        "a": tokens.numpy(),
        "b": tokens.numpy(),
        "answer": tokens.numpy(),
        "i": np.arange(n // 2 + 1),
        "j": np.arange(-((n - 1) // 2), n // 2 + 1),
    }
    if patterns := [pattern for _, pattern in grids if pattern is not None]:
        variables |= _attention(torch.stack(patterns))
        coords |= {
            "head": np.arange(patterns[0].shape[0]),
            "source": ["a", "b"],
            "frequency": np.arange(n // 2 + 1),
        }
    return xr.Dataset(
        {
            name: (dims, value.numpy(), {"units": unit})
            for name, (dims, value, unit) in variables.items()
        },
        coords=coords,
        attrs={
            "definition": "explained: variance over the grid held by (±k, 0), (0, ±k), (±k, ±k)",
            "order": "additive" if n == task.p else "multiplicative",
            **left_out(asked, steps),
        },
    )


def _attention(
    pattern: Float[Tensor, "step head 2 n n"],
) -> dict[str, tuple[tuple[str, ...], Tensor, str]]:
    """What the heads give the operands, and how much of that to a single frequencies explain."""
    share = grid_share(pattern[:, :, 0].double())
    return {
        "attention": (("step", "head", "source", "a", "b"), pattern, "attention"),
        "head_share": (("step", "head", "frequency"), share, "share of variance"),
    }


@torch.no_grad()
def _grids(
    run: Run, step: int, task: ModularArithmetic, tokens: Integer[Tensor, " n"]
) -> tuple[Float[Tensor, "neuron n n"], Float[Tensor, "head 2 n n"] | None]:
    """Activations of the last layer's neurons over the grid, and the attention to a and to b."""
    model, n = run.model(step), len(tokens)
    layer = run.wiring.hidden[-1]
    names = [layer.hook, layer.pattern]
    grid = task.tokens(torch.cartesian_prod(tokens, tokens))
    _, cache = model.run_with_cache(grid, names_filter=lambda name: name in names)
    post = cache[layer.hook]
    post = post[:, -1] if post.ndim == 3 else post
    activation = post.T.reshape(-1, n, n).double()
    if layer.pattern is None:
        return activation, None
    pattern = cache[layer.pattern][:, :, -1, :2]
    return activation, pattern.permute(1, 2, 0).reshape(-1, 2, n, n)


def _most_active(
    variance: Float[Tensor, " neuron"], frequency_of: Integer[Tensor, " neuron"], count: int
) -> list[int]:
    """The neurons of largest variance, first one of each frequency, then whatever is left."""
    falling = variance.argsort(descending=True).tolist()
    frequency = frequency_of.tolist()
    first: dict[int, int] = {}
    for neuron in falling:
        first.setdefault(frequency[neuron], neuron)
    leaders = list(first.values())
    return (leaders + [neuron for neuron in falling if neuron not in leaders])[:count]


def _transform(grids: Float[Tensor, "... n n"]) -> Float[Tensor, "... i j"]:
    """|two-dimensional Fourier transform| / n², i ≥ 0 (the rest mirrors it), j around 0."""
    n = grids.shape[-1]
    spectrum = torch.fft.fft2(grids)[..., : n // 2 + 1, :].abs() / n**2
    return spectrum.roll((n - 1) // 2, dims=-1)


def finding(dataset: xr.Dataset) -> str:
    """How much single frequencies explain of the neurons' activations, and of the attention."""
    first, last = dataset.isel(step=0), dataset.isel(step=-1)
    used, count = np.unique(last.frequency_of.where(last.variance > 0, 0), return_counts=True)
    groups = sorted(((c, int(k)) for k, c in zip(used, count, strict=True) if k), reverse=True)
    before = f"; {_median(first):.0%} at step {int(first.step):,}"
    text = (
        f"one frequency explains {_median(last):.0%} of a neuron's activation over all pairs at "
        f"step {int(last.step):,} (median{before if np.isfinite(_median(first)) else ''}); "
        f"frequencies (neurons): {', '.join(f'{k} ({c})' for c, k in groups[:6])}"
    )
    if not groups:
        text = f"no neuron's activation depends on the pair at step {int(last.step):,}"
    if "head_share" in dataset:
        share = last.head_share.fillna(0)
        best = zip(
            share.argmax("frequency").to_numpy(), share.max("frequency").to_numpy(), strict=True
        )
        text += "; heads: " + ", ".join(f"{k} ({value:.0%})" for k, value in best)
    return and_left_out(text, dataset)


def _median(at: xr.Dataset) -> float:
    """The median explained share over neurons that respond at all."""
    return float(at.explained.median(skipna=True))


# --- figure -------------------------------------------------------------------------------------


def draw(measured: Mapping[str, xr.Dataset]) -> go.Figure:
    """A block of panels for each run, a neuron in each column; below, all neurons."""
    colors = run_colors(measured)
    width = max(_width(dataset) for dataset in measured.values())
    depth = {label: 3 + ("attention" in dataset) for label, dataset in measured.items()}
    start = dict(zip(depth, np.cumsum([1, *depth.values()]).tolist(), strict=False))
    bottom = sum(depth.values()) + 1
    left = width - width // 2
    last_row: list[Any] = [None] * width
    last_row[0], last_row[left] = {"colspan": left}, {"colspan": width - left}
    figure = make_subplots(
        bottom,
        width,
        specs=[[{}] * width] * (bottom - 1) + [last_row],
        subplot_titles=_panel_titles(measured, width),
        vertical_spacing=85 / (275 * bottom),
        horizontal_spacing=0.06,
    )
    stops = slider_steps(measured, _STOPS)

    def changing(step: int) -> list[dict[str, Any]]:
        traces: list[dict[str, Any]] = []
        for dataset in measured.values():
            at = dataset.sel(step=step, method="nearest")
            for shown in range(dataset.sizes["shown"]):
                one = at.isel(shown=shown)
                traces.append({"type": "heatmap", "z": one.activation.to_numpy()})
                traces.append({"type": "heatmap", "z": _without_mean(one.transform)})
                traces.append({"type": "scatter", "y": one.push.to_numpy()})
            if "attention" in dataset:
                pattern = at.attention.sel(source="a").to_numpy()[:width]
                traces += [{"type": "heatmap", "z": head} for head in pattern]
            traces.append(_neurons(at))
        return traces

    traces = iter(changing(stops[-1]))
    for label, dataset in measured.items():
        row = start[label]
        for column in range(1, dataset.sizes["shown"] + 1):
            _add_neuron(figure, traces, dataset, row, column, colors[label])
        if "attention" in dataset:
            for column in range(1, min(width, dataset.sizes["head"]) + 1):
                _add_head(figure, next(traces), dataset, row + 3, column)
        scatter = go.Scatter(next(traces), mode="markers", name=label, legendgroup=label)
        hover = (
            f"{label}<br>neuron %{{customdata}}<br>frequency %{{x}}<br>%{{y:.1%}}<extra></extra>"
        )
        scatter.update(hovertemplate=hover, marker={"color": colors[label], "opacity": 0.6})
        figure.add_trace(scatter, bottom, left + 1)
        _hide_empty(figure, dataset, row, width)
    for label, dataset in measured.items():
        _add_trend(figure, dataset, label, colors[label], bottom)
    _label_bottom(figure, bottom, left)
    figure.update_layout(
        template=TEMPLATE,
        height=200 + 275 * bottom,
        showlegend=len(measured) > 1,
        title={"text": _title(measured), "subtitle": {"text": _subtitle(measured)}},
        legend={
            "x": 0.01,
            "y": figure.get_subplot(bottom, 1).yaxis.domain[1],
            "yanchor": "top",
            "bgcolor": "rgba(255,255,255,0.8)",
        },
        margin={"t": 150},
    )
    return with_slider(figure, stops, changing)


def _width(dataset: xr.Dataset) -> int:
    """Panels in a row: a neuron or a head in each; two at least, for the row below."""
    return max(2, dataset.sizes["shown"], min(4, dataset.sizes.get("head", 0)))


def _panel_titles(measured: Mapping[str, xr.Dataset], width: int) -> list[str]:
    """Names of all panels, row by row."""
    titles = []
    for label, dataset in measured.items():
        last = dataset.isel(step=-1)
        neurons = [
            f"neuron {neuron}<br><sup>ends with frequency {int(one.frequency_of)}, "
            f"{float(one.explained):.0%} explained</sup>"
            for neuron in dataset.shown.to_numpy().tolist()
            for one in [last.sel(neuron=neuron)]
        ]
        neurons[0] = f"<b>{label}</b>: {neurons[0]}"
        filling = [""] * (width - len(neurons))
        titles += [*neurons, *filling]
        titles += [*["Fourier transform"] * len(neurons), *filling]
        titles += [*["answers it pushes"] * len(neurons), *filling]
        if "attention" in dataset:
            share = last.head_share.fillna(0)
            heads = [
                f"head {head}: attention to a<br><sup>ends with frequency "
                f"{one.argmax()}, {one.max():.0%} explained</sup>"
                for head, one in enumerate(share.to_numpy()[:width])
            ]
            titles += [*heads, *[""] * (width - len(heads))]
    return [*titles, "a single frequency's share, median over neurons", "all neurons"]


def _without_mean(transform: xr.DataArray) -> np.ndarray:
    """The amplitudes with a hole in the place of the mean, which would outshine the waves."""
    values = transform.to_numpy().copy()
    values[0, transform.get_index("j").get_loc(0)] = np.nan
    return values


def _neurons(at: xr.Dataset) -> dict[str, Any]:
    responds = at.variance.to_numpy() > 0
    return {
        "type": "scatter",
        "x": at.frequency_of.to_numpy()[responds],
        "y": at.explained.to_numpy()[responds],
        "customdata": at.neuron.to_numpy()[responds],
    }


def _add_neuron(
    figure: go.Figure, traces: Any, dataset: xr.Dataset, row: int, column: int, color: str
) -> None:
    """The three panels of one neuron."""
    one = dataset.isel(shown=column - 1)
    n = dataset.sizes["a"]
    residue = dataset.a.to_numpy()
    pair = np.stack(np.meshgrid(residue, residue, indexing="ij"), -1)
    grid = go.Heatmap(
        next(traces),
        customdata=pair,
        colorscale=SEQUENTIAL,
        zmin=min(0.0, float(one.activation.min())),
        zmax=float(one.activation.max()),
        showscale=False,
        hovertemplate="a = %{customdata[0]}, b = %{customdata[1]}<br>activation %{z:.3g}"
        "<extra></extra>",
    )
    figure.add_trace(grid, row, column)
    transform = go.Heatmap(
        next(traces),
        x=dataset.j,
        y=dataset.i,
        colorscale="Greys",
        zmin=0,
        showscale=False,
        hovertemplate="(%{y}, %{x})<br>amplitude %{z:.3g}<extra></extra>",
    )
    figure.add_trace(transform, row + 1, column)
    push = go.Scatter(
        next(traces),
        customdata=dataset.answer,
        mode="lines+markers",
        marker={"size": 3},
        line={"color": color, "width": 1},
        showlegend=False,
        hovertemplate="answer %{customdata}<br>logit per activation %{y:.3g}<extra></extra>",
    )
    figure.add_trace(push, row + 2, column)
    top = 1.1 * float(np.abs(one.push).max())
    place = {"standoff": 2}
    what = "" if dataset.attrs["order"] == "additive" else "log "
    for at, x, y in (
        (row, f"{what}b", f"{what}a"),
        (row + 1, "frequency in b", "frequency in a"),
        (row + 2, f"{what}answer", "logit per activation"),
    ):
        figure.update_xaxes(title={"text": x, **place}, showgrid=False, row=at, col=column)
        figure.update_yaxes(
            title={"text": y if column == 1 else "", **place}, showgrid=False, row=at, col=column
        )
    figure.update_yaxes(range=[-top, top], nticks=5, row=row + 2, col=column)
    figure.update_xaxes(range=[-0.5, n - 0.5], row=row, col=column)


def _add_head(
    figure: go.Figure, trace: dict[str, Any], dataset: xr.Dataset, row: int, column: int
) -> None:
    """One head's attention to the first operand over the grid."""
    residue = dataset.a.to_numpy()
    head = go.Heatmap(
        trace,
        customdata=np.stack(np.meshgrid(residue, residue, indexing="ij"), -1),
        colorscale=DIVERGING,
        zmin=0,
        zmid=0.5,
        zmax=1,
        showscale=False,
        hovertemplate="a = %{customdata[0]}, b = %{customdata[1]}<br>attention to a %{z:.1%}"
        "<extra></extra>",
    )
    figure.add_trace(head, row, column)
    figure.update_xaxes(title={"text": "b", "standoff": 2}, row=row, col=column)
    figure.update_yaxes(
        title={"text": "a" if column == 1 else "", "standoff": 2}, row=row, col=column
    )


def _hide_empty(figure: go.Figure, dataset: xr.Dataset, row: int, width: int) -> None:
    """No axes where a run has fewer neurons or heads than columns."""
    filled = [dataset.sizes["shown"]] * 3
    if "attention" in dataset:
        filled.append(dataset.sizes["head"])
    for at, count in enumerate(filled, row):
        for column in range(count + 1, width + 1):
            figure.update_xaxes(visible=False, row=at, col=column)
            figure.update_yaxes(visible=False, row=at, col=column)


def _add_trend(figure: go.Figure, dataset: xr.Dataset, label: str, color: str, row: int) -> None:
    figure.add_scatter(
        x=dataset.step,
        y=dataset.explained.median("neuron", skipna=True),
        mode="lines+markers",
        line={"color": color, "width": 2},
        name=label,
        legendgroup=label,
        showlegend=False,
        hovertemplate=f"{label}<br>step %{{x:,}}<br>%{{y:.1%}} explained<extra></extra>",
        row=row,
        col=1,
    )


def _label_bottom(figure: go.Figure, row: int, left: int) -> None:
    share = {"range": [0, 1.03], "tickformat": ".0%", "row": row}
    figure.update_yaxes(title="share of variance", col=1, **share)
    figure.update_yaxes(col=left + 1, **share)
    figure.update_xaxes(title="training step", row=row, col=1)
    figure.update_xaxes(title="frequency", rangemode="tozero", row=row, col=left + 1)


def _title(measured: Mapping[str, xr.Dataset]) -> str:
    """Whether neurons respond in one frequency each, in all runs."""
    last = [_median(dataset.isel(step=-1)) for dataset in measured.values()]
    if min(last) > 0.6:
        return "Each neuron responds to pairs (a, b) in waves of one frequency"
    return "What neurons respond to, and which answers they push"


def _subtitle(measured: Mapping[str, xr.Dataset]) -> str:
    medians = "; ".join(
        f"{label}: one frequency explains {_median(dataset.isel(step=-1)):.0%} of an activation "
        "(median, last step)"
        for label, dataset in measured.items()
    )
    colours = "dark: 0, yellow: the neuron's largest activation; the transform without its mean"
    if any("attention" in dataset for dataset in measured.values()):
        colours += "; attention blue: all on a, red: none on a"
    return f"{medians}<br>{colours}"
