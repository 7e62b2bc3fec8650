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
from torch import Tensor

from analyses.drawing import DIVERGING, SHARE, Panel, Panels, representatives
from analyses.drawing.panel import AtStep
from analyses.measures.finite import and_left_out, finite_steps, left_out
from analyses.measures.fourier import grid_share
from analyses.measures.places import spread
from analyses.measures.residues import OrderOption, residues
from mechgrok.errors import UserError
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
    if neurons < 1:
        raise UserError(f"{neurons} neurons show nothing: choose 1 or more.")
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
            **run.milestones,
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
    start, at = int(first.step), int(last.step)
    before = f"; {_median(first):.0%} at step {start:,}"
    is_told = np.isfinite(_median(first)) and start != at
    text = (
        f"one frequency explains {_median(last):.0%} of a neuron's activation over all pairs at "
        f"step {int(last.step):,} (median{before if is_told else ''}); "
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


def draw(
    measured: Mapping[str, xr.Dataset],
    *,
    log: Annotated[bool, "logarithmic step axis"] = True,
) -> go.Figure:
    """A block of panels for each run, a neuron in each column; below, all neurons."""
    measured = {label: _without_mean(dataset) for label, dataset in measured.items()}
    figure = Panels(
        measured, title=_title(measured), subtitle=_subtitle(measured), log=log, stops=_STOPS
    )
    width = max(_width(dataset) for dataset in measured.values())
    for label, dataset in representatives(measured).items():
        _draw_grids(figure, dataset, label, width)
        _draw_transforms(figure, dataset, label, width)
        _draw_pushes(figure, dataset, label, width)
        if "attention" in dataset:
            _draw_heads(figure, dataset, label, width)
    row = figure.row(height=200)
    trend = row.over_training(
        "a single frequency's share, median over neurons", y={"title": "of variance", **SHARE}
    )
    every = row.panel("all neurons", x={"title": "frequency", "rangemode": "tozero"}, y=SHARE)
    for label, dataset in measured.items():
        median = dataset.explained.median("neuron", skipna=True)
        trend.lines(dataset.step, median, run=label, value="%{y:.1%} explained", follow=True)
        every.add(
            "scatter",
            run=label,
            at=_neurons,
            hover="neuron %{customdata}<br>frequency %{x}<br>%{y:.1%}",
            mode="markers",
            marker={"opacity": 0.6},
        )
    return figure.draw()


def _width(dataset: xr.Dataset) -> int:
    """Panels in a row: a neuron or a head in each; two at least, for the row below."""
    return max(2, dataset.sizes["shown"], min(4, dataset.sizes.get("head", 0)))


def _without_mean(dataset: xr.Dataset) -> xr.Dataset:
    """The amplitudes with a hole in the place of the mean, which would outshine the waves."""
    return dataset.assign(transform=dataset.transform.where((dataset.i != 0) | (dataset.j != 0)))


def _neurons(at: xr.Dataset) -> dict[str, Any]:
    responds = at.variance.to_numpy() > 0
    return {
        "x": at.frequency_of.to_numpy()[responds],
        "y": at.explained.to_numpy()[responds],
        "customdata": at.neuron.to_numpy()[responds],
    }


def _panels(
    figure: Panels, height: float, width: int, titles: Sequence[str], x: str, y: str
) -> list[Panel]:
    """A row of as many panels as titles, whose x axes, and y axes, mean the same."""
    row = figure.row(height=height)
    panels = [
        row.panel(
            title,
            x={"title": x, "showgrid": False, "nticks": 4},
            y={"title": "" if place else y, "showgrid": False, "nticks": 5},
        )
        for place, title in enumerate(titles)
    ]
    for _ in range(width - len(titles)):
        row.empty()
    return panels


def _pairs(dataset: xr.Dataset) -> np.ndarray:
    """a and b of each cell of the grid, for the hover."""
    residue = dataset.a.to_numpy()
    return np.stack(np.meshgrid(residue, residue, indexing="ij"), -1)


def _part(name: str, place: int, attribute: str, **where: str) -> AtStep:
    """One neuron's, or one head's, part of a variable at a step, as an attribute of a trace."""
    return lambda now: {attribute: now[name].sel(where)[place].to_numpy()}


def _log(dataset: xr.Dataset) -> str:
    """What stands before a residue where residues are in the order of their logarithms."""
    return "" if dataset.attrs["order"] == "additive" else "log "


def _draw_grids(figure: Panels, dataset: xr.Dataset, label: str, width: int) -> None:
    """Each shown neuron's activation over all pairs."""
    last = dataset.isel(step=-1)
    titles = []
    for neuron in dataset.shown.to_numpy().tolist():
        one = last.sel(neuron=neuron)
        titles.append(f"neuron {neuron}<br>ω = {int(one.frequency_of)}: {float(one.explained):.0%}")
    titles[0] = f"<b>{label}</b>: {titles[0]}"
    lowest, highest = (float(end) for end in (dataset.activation.min(), dataset.activation.max()))
    colors = figure.colors("activation", min(0.0, lowest), highest)
    what = _log(dataset)
    for shown, panel in enumerate(_panels(figure, 130, width, titles, f"{what}b", f"{what}a")):
        panel.heat(
            colors,
            run=label,
            at=_part("activation", shown, "z"),
            hover="a = %{customdata[0]}, b = %{customdata[1]}<br>activation %{z:.3g}",
            customdata=_pairs(dataset),
        )


def _draw_transforms(figure: Panels, dataset: xr.Dataset, label: str, width: int) -> None:
    """The two-dimensional Fourier transform of each shown neuron's grid, without its mean."""
    colors = figure.colors("amplitude", 0, float(dataset.transform[-1].max()), scale="Greys")
    titles = ["Fourier transform"] * dataset.sizes["shown"]
    places = ("frequency in b", "frequency in a")
    for shown, panel in enumerate(_panels(figure, 85, width, titles, *places)):
        panel.heat(
            colors,
            run=label,
            at=_part("transform", shown, "z"),
            hover="(%{y}, %{x})<br>amplitude %{z:.3g}",
            x=dataset.j.to_numpy(),
            y=dataset.i.to_numpy(),
        )


def _draw_pushes(figure: Panels, dataset: xr.Dataset, label: str, width: int) -> None:
    """The answers that each shown neuron pushes, on one scale for each neuron at all steps."""
    titles = ["answers it pushes"] * dataset.sizes["shown"]
    places = (f"{_log(dataset)}answer", "logit per activation")
    for shown, panel in enumerate(_panels(figure, 95, width, titles, *places)):
        top = 1.1 * float(np.abs(dataset.push[:, shown]).max())
        panel.y |= {"range": [-top, top]}
        panel.add(
            "scatter",
            run=label,
            at=_part("push", shown, "y"),
            hover="answer %{customdata}<br>logit per activation %{y:.3g}",
            customdata=dataset.answer.to_numpy(),
            mode="lines+markers",
            marker={"size": 3},
            line={"width": 1},
        )


def _draw_heads(figure: Panels, dataset: xr.Dataset, label: str, width: int) -> None:
    """Each head's attention to the first operand over all pairs."""
    share = dataset.isel(step=-1).head_share.fillna(0).to_numpy()[:width]
    titles = [
        f"head {head}, to token a<br>ω = {one.argmax()}: {one.max():.0%}"
        for head, one in enumerate(share)
    ]
    colors = figure.colors("attention", 0, 1, scale=DIVERGING)
    what = _log(dataset)
    for head, panel in enumerate(_panels(figure, 130, width, titles, f"{what}b", f"{what}a")):
        panel.heat(
            colors,
            run=label,
            at=_part("attention", head, "z", source="a"),
            hover="a = %{customdata[0]}, b = %{customdata[1]}<br>attention to a %{z:.1%}",
            customdata=_pairs(dataset),
        )


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
    return (
        f"{medians}<br>ω: the frequency that explains most at the last step, with its share of the "
        "variance; Fourier transforms without the mean"
    )
