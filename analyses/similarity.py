"""When does the subnetwork settle? Magnitude masks of all checkpoints, compared by Jaccard.

The magnitude mask m_t of a checkpoint keeps its (1 − k) largest weights; it is the lottery ticket
that could be drawn there. Jaccard similarity is JS(a, b) = |a ∩ b| / |a ∪ b|, distance JD = 1 − JS.
Near generalization the masks move towards the final one, and the distance between m_t and m_{t+δt}
follows the rise of test accuracy (Minegishi et al. 2023, arXiv 2310.19470v2 fig. 6, v3 fig. 7).
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Bool, Float, Integer
from plotly.subplots import make_subplots
from torch import Tensor

from analyses.drawing import (
    COLORS,
    SEQUENTIAL,
    TEMPLATE,
    mark_learning,
    short_names,
    spread,
)
from analyses.measures.curves import judged_curve
from analyses.measures.finite import and_left_out, finite_steps, last_finite_step, left_out
from analyses.measures.masks import magnitude_mask
from mechgrok.errors import UserError
from mechgrok.masks import Mask, Scope, check_rate
from mechgrok.runs import Run

#: The name of all weights together among the layers.
WHOLE = "all"
#: Entries of all masks that are multiplied at once, so that 0/1 floats stay under 200 MB.
_LARGEST = 2**25
#: Every mask is compared with at most so many others.
_OTHERS = 320


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    rate: Annotated[float, "prune rate k of the magnitude masks"] = 0.6,
    scope: Annotated[Literal["global", "layer"], "one threshold, or one per weight"] = "global",
    lag: Annotated[int | None, "δt in steps; a 15th of the run (2,000 of 30,000)"] = None,
    reference: Annotated[Path | None, "a run or a mask's file; this run unless given"] = None,
    reference_step: Annotated[int | None, "checkpoint of the reference; the last"] = None,
) -> xr.Dataset:
    """Masks of every checkpoint, or of the given steps, compared with one another.

    Matrices are pruned, biases are not; a run's own mask has set its weights to zero before.

    Returns:
        ``similarity [step, layer]``: JS(m_t, reference); ``pairwise [step, other_step, layer]``:
        JS(m_t, m_s) with all other steps, or with 320 of them where there are more (then the
        attribute ``other_steps`` says so); ``distance [step, layer]``: JD(m_t, m_{t+δt}), where a
        checkpoint lies within δt/10 of t + δt (else NaN), and ``later [step]``: its step;
        ``test_accuracy [step]`` and ``accuracy_change [step]`` = test accuracy at that later step
        less that at t (for tasks judged by their loss: ``test_loss``, and the fall of log10 loss);
        ``density [step, layer]``: share of the weight that is kept. Layer "all" is the network.

    Raises:
        UserError: the rate is outside [0, 1), or the reference has other weights.
    """
    check_rate(rate)
    asked = run.select(steps)
    steps = finite_steps(run, asked)
    others = spread(steps, _OTHERS)
    masks = [_mask(run, step, rate, scope) for step in steps]
    target = _reference(run, reference, reference_step, rate, scope)
    _check_reference(run, reference, masks[0], target)
    lag = max(1, round(steps[-1] / 15)) if lag is None else lag
    later = _later(steps, lag)
    at = np.maximum(later, 0)
    similarity, distance, pairwise = _compared(masks, target, at, list(map(steps.index, others)))
    distance[later < 0] = np.nan
    quantity, curve = judged_curve(run, steps)
    rise = curve[at] - curve if quantity == "test_accuracy" else np.log10(curve / curve[at])
    change_name = "accuracy_change" if quantity == "test_accuracy" else "log_loss_fall"
    return xr.Dataset(
        {
            "similarity": (("step", "layer"), similarity.astype(np.float32)),
            "distance": (("step", "layer"), distance.astype(np.float32)),
            "pairwise": (("step", "other_step", "layer"), pairwise.astype(np.float32)),
            "density": (("step", "layer"), _densities(masks)),
            "later": ("step", np.where(later < 0, -1, np.array(steps)[at])),
            quantity: ("step", curve),
            change_name: ("step", np.where(later < 0, np.nan, rise)),
        },
        coords={"step": steps, "other_step": others, "layer": [*masks[0], WHOLE]},
        attrs={
            "rate": rate,
            "scope": scope,
            "lag": lag,
            "reference": _reference_name(run, reference, reference_step),
            "definition": "JS(a, b) = |a ∩ b| / |a ∪ b|, JD = 1 − JS",
            **({"other_steps": len(others)} if len(others) < len(steps) else {}),
            **left_out(asked, steps),
            **run.milestones,
        },
    )


def _reference(
    run: Run, reference: Path | None, step: int | None, rate: float, scope: Scope
) -> Mask:
    if reference is not None and Path(reference).is_file():
        return Mask.load(reference)
    other = run if reference is None else Run(reference)
    return _mask(other, last_finite_step(other) if step is None else step, rate, scope)


def _mask(run: Run, step: int, rate: float, scope: Scope) -> Mask:
    weights = run.checkpoint(step).effective_weights
    return magnitude_mask({name: weights[name] for name in run.weight_names}, rate, scope)


def _reference_name(run: Run, reference: Path | None, step: int | None) -> str:
    if reference is not None and Path(reference).is_file():
        return Path(reference).name
    other = run if reference is None else Run(reference)
    at = f"step {last_finite_step(other) if step is None else other.select([step])[0]:,}"
    return at if reference is None else f"{other.name} at {at}"


def _check_reference(run: Run, reference: Path | None, mask: Mask, target: Mask) -> None:
    for name, kept in mask.items():
        if name not in target or target[name].shape != kept.shape:
            raise UserError(
                f"The reference {reference} has no weight {name} of shape {tuple(kept.shape)}, so "
                f"its mask cannot be compared with {run.path}."
            )


def _compared(
    masks: Sequence[Mask], target: Mask, at: Integer[np.ndarray, " step"], others: list[int]
) -> tuple[
    Float[np.ndarray, "step layer"],
    Float[np.ndarray, "step layer"],
    Float[np.ndarray, "step other layer"],
]:
    """JS with the target, JD with the masks ``at`` other places, and JS with the ``others``."""
    sizes, target_sizes, shared, moved, common = [], [], [], [], []
    for name in masks[0]:
        stack = torch.stack([mask[name].flatten() for mask in masks])
        reference = target[name].flatten()
        sizes.append(_counts(stack))
        target_sizes.append(_counts([reference])[0])
        shared.append(_counts(kept & reference for kept in stack))
        moved.append(_counts(kept & stack[b] for kept, b in zip(stack, at, strict=True)))
        every = len(others) == len(stack)
        common.append(intersections(stack, stack if every else stack[others]))
    size = _with_whole(sizes)
    return (
        _jaccard(_with_whole(shared), size, _with_whole(target_sizes)),
        1 - _jaccard(_with_whole(moved), size, size[at]),
        _jaccard(_with_whole(common), size[:, None], size[None, others]),
    )


def _counts(masks: Iterable[Bool[Tensor, " entry"]]) -> Integer[np.ndarray, " mask"]:
    # Row by row numpy counts a vector's width at once, several times as fast as a sum.
    return np.array([np.count_nonzero(kept.numpy()) for kept in masks])


def _densities(masks: Sequence[Mask]) -> Float[np.ndarray, "step layer"]:
    """The share of each weight that is kept, and of all of them."""
    return np.array([[*mask.densities.values(), mask.density] for mask in masks])


def intersections(
    masks: Bool[Tensor, "mask entry"], others: Bool[Tensor, "other entry"]
) -> Float[np.ndarray, "mask other"]:
    """|a ∩ b| for every pair of masks: the product of 0/1 matrices, exact in float32."""
    total = torch.zeros(len(masks), len(others), dtype=torch.float64)
    width = max(1, _LARGEST // (len(masks) + len(others)))
    for some, other_some in zip(masks.split(width, 1), others.split(width, 1), strict=True):
        ones = some.float()
        total += ones @ (ones if others is masks else other_some.float()).T
    return total.numpy()


def _with_whole(per_layer: Sequence[np.ndarray]) -> np.ndarray:
    """Counts of each layer along a last axis, and their sum, for the network, behind them."""
    stacked = np.stack(per_layer, -1)
    return np.concatenate([stacked, stacked.sum(-1, keepdims=True)], -1)


def _jaccard(common: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|a ∩ b| / |a ∪ b| from counts; 1 where both are empty."""
    either = a + b - common
    return np.divide(common, either, out=np.ones(np.shape(either)), where=either > 0)


def _later(steps: Sequence[int], lag: int) -> np.ndarray:
    """For each step the position of the checkpoint nearest to step + lag, −1 beyond lag / 10."""
    at = np.array(steps)
    position = np.abs(at[None] - (at[:, None] + lag)).argmin(1)
    near = np.abs(at[position] - (at + lag)) <= lag / 10
    return np.where(near & (at[position] > at), position, -1)


def _change(dataset: xr.Dataset) -> xr.DataArray:
    return dataset["accuracy_change" if "accuracy_change" in dataset else "log_loss_fall"]


def peak(dataset: xr.Dataset) -> tuple[int, float] | None:
    """Where the distance over δt stands highest above its lowest value before: t, and the distance.

    Early on every weight moves, in networks that generalize and in those that do not; the distance
    falls from there, and what is looked for is where it rises again. None where it never does.
    """
    distance = dataset.distance.sel(layer=WHOLE)
    distance = distance[distance.notnull().to_numpy()]
    rise = distance.to_numpy() - np.minimum.accumulate(distance.to_numpy())
    if not rise.size or rise.max() < 0.01:
        return None
    at = int(rise.argmax())
    return int(distance.step[at]), float(distance[at])


def finding(dataset: xr.Dataset) -> str:
    """How similar to the reference it starts and ends, and where masks change fastest."""
    whole = dataset.similarity.sel(layer=WHOLE)
    words = (
        f"k = {dataset.rate:g}: similarity to {dataset.reference} {float(whole[0]):.2f} at step "
        f"{int(whole.step[0]):,}, {float(whole[-1]):.2f} at {int(whole.step[-1]):,}"
    )
    found, change = peak(dataset), _change(dataset)
    if found is None or not change.notnull().any():
        words = f"{words}; the distance over δt = {dataset.lag:,} does not rise again"
        return and_left_out(words, dataset)
    words = (
        f"{words}; the distance over δt = {dataset.lag:,} rises again to a peak of "
        f"{found[1]:.2f} from step {found[0]:,}, the {_judged(dataset)} changes most from step "
        f"{int(change.idxmax('step')):,}"
    )
    return and_left_out(words, dataset)


def _judged(dataset: xr.Dataset) -> str:
    """The name of the test curve that the task is judged by."""
    return "test accuracy" if "test_accuracy" in dataset else "test loss"


def draw(measured: Mapping[str, xr.Dataset]) -> go.Figure:
    """A column per run: similarity to the reference, distance over δt, and all pairs."""
    n_runs = len(measured)
    titles = [
        *(f"{label}: similarity to {ds.reference}" for label, ds in measured.items()),
        *map(_distance_title, measured.values()),
        *("similarity of all pairs of checkpoints" for _ in measured),
    ]
    figure = make_subplots(
        3,
        n_runs,
        specs=[[{"secondary_y": True}] * n_runs] * 2 + [[{}] * n_runs],
        subplot_titles=titles,
        row_heights=[0.26, 0.26, 0.48],
        vertical_spacing=0.085,
        horizontal_spacing=0.16 / n_runs if n_runs > 1 else 0.1,
    )
    layers = list(
        dict.fromkeys(str(name) for ds in measured.values() for name in ds.layer.to_numpy())
    )
    for column, (label, dataset) in enumerate(measured.items(), 1):
        _curves(figure, dataset, layers, column)
        for row in (1, 2):
            mark_learning(figure, {label: dataset}, {label: "#777777"}, row=row, col=column)
    pairs_from = len(figure.data)
    for column, dataset in enumerate(measured.values(), 1):
        figure.add_trace(_pairs(dataset, WHOLE), row=3, col=column)
        figure.update_xaxes(title="training step t", type="category", nticks=8, row=3, col=column)
        figure.update_yaxes(title="training step s", type="category", nticks=8, row=3, col=column)
        for row in (1, 2):
            figure.update_xaxes(title="training step t", row=row, col=column)
    _label(figure, measured)
    if len(layers) > 2:
        _choose_layer(figure, measured, layers, pairs_from)
    return figure


def _distance_title(dataset: xr.Dataset) -> str:
    few = int((dataset.later >= 0).sum()) < 3
    note = ": too few checkpoints so far apart" if few else ""
    return f"Jaccard distance over δt = {dataset.lag:,} steps{note}"


def _curves(figure: go.Figure, dataset: xr.Dataset, layers: Sequence[str], column: int) -> None:
    """Similarity and distance per layer, with the test curve and its change on the right."""
    short = short_names(layers)
    for place, layer in enumerate(layers):
        if layer not in dataset.layer:
            continue
        whole = layer == WHOLE
        color = "#000000" if whole else [c for c in COLORS if c != "#000000"][place % 7]
        for row, name in ((1, "similarity"), (2, "distance")):
            figure.add_scatter(
                x=dataset.step,
                y=dataset[name].sel(layer=layer),
                name="all weights" if whole else short[layer],
                legendgroup=layer,
                showlegend=row == 1 and column == 1,
                line={"color": color, "width": 3 if whole else 1.5},
                opacity=1 if whole else 0.85,
                hovertemplate=f"{short[layer]}<br>step %{{x:,}}<br>{name} %{{y:.3f}}"
                "<extra></extra>",
                row=row,
                col=column,
            )
    judged = _judged(dataset)
    for row, curve, words in (
        (1, dataset[judged.replace(" ", "_")], judged),
        (2, _change(dataset), "its change over δt"),
    ):
        figure.add_scatter(
            x=dataset.step,
            y=curve,
            name=words,
            legendgroup=words,
            showlegend=column == 1,
            line={"color": "#888888", "width": 2, "dash": "dot"},
            hovertemplate=f"{words}<br>step %{{x:,}}<br>%{{y:.3f}}<extra></extra>",
            row=row,
            col=column,
            secondary_y=True,
        )


def _pairs(dataset: xr.Dataset, layer: str) -> go.Heatmap:
    """Similarity of pairs at evenly placed checkpoints, at most 150 of them."""
    stops = spread(dataset.other_step.to_numpy().tolist(), 150)
    values = dataset.pairwise.sel(layer=layer, step=stops, other_step=stops)
    ticks = [f"{step:,}" for step in stops]
    return go.Heatmap(
        x=ticks,
        y=ticks,
        z=values.to_numpy(),
        coloraxis="coloraxis",
        hovertemplate="t = %{x}<br>s = %{y}<br>similarity %{z:.3f}<extra></extra>",
    )


def _label(figure: go.Figure, measured: Mapping[str, xr.Dataset]) -> None:
    n_runs = len(measured)
    first = next(iter(measured.values()))
    accuracy = _judged(first) == "test accuracy"
    words = ("test accuracy", "its change") if accuracy else ("test loss", "fall of log₁₀ loss")
    top = 1.08 * max(float(ds.distance.max()) for ds in measured.values())
    for column in range(1, n_runs + 1):
        for row, name, highest in ((1, "JS", 1.03), (2, "JD", top if top > 0 else 1)):
            figure.update_yaxes(
                title=name if column == 1 else None,
                range=[0, highest],
                row=row,
                col=column,
                secondary_y=False,
            )
            figure.update_yaxes(
                title=words[row - 1] if column == n_runs else None,
                showgrid=False,
                tickmode="auto",
                nticks=5,
                row=row,
                col=column,
                secondary_y=True,
            )
        if accuracy:
            figure.update_yaxes(
                range=[0, 1.03], tickformat=".0%", row=1, col=column, secondary_y=True
            )
            figure.update_yaxes(tickformat="+.0%", row=2, col=column, secondary_y=True)
        else:
            figure.update_yaxes(type="log", row=1, col=column, secondary_y=True)
    domain = figure.get_subplot(3, n_runs).yaxis.domain
    figure.update_layout(
        template=TEMPLATE,
        height=1250,
        margin={"t": 125, "l": 95, "r": 90},
        coloraxis={
            "colorscale": SEQUENTIAL,
            "cmin": 0,
            "cmax": 1,
            "colorbar": {
                "title": {"text": "JS", "side": "right"},
                "x": 1.01,
                "thickness": 12,
                "y": sum(domain) / 2,
                "len": domain[1] - domain[0],
            },
        },
        legend={"y": -0.07},
        title={
            "text": _title(measured),
            "subtitle": {
                "text": f"masks of the {1 - first.rate:.0%} largest weights, "
                + ("one threshold for all" if first.scope == "global" else "a threshold each")
                + "; dotted line: t_mem, dashed line: t_gen"
            },
        },
    )


def _title(measured: Mapping[str, xr.Dataset]) -> str:
    """Whether, in every run, the second peak of the distance is where the test curve changes."""
    together = []
    for dataset in measured.values():
        found, change = peak(dataset), _change(dataset)
        if found is None or not change.notnull().any() or float(change.max()) < 0.1:
            together.append(False)
        else:
            together.append(abs(found[0] - int(change.idxmax("step"))) <= dataset.lag)
    if all(together):
        return "Masks settle, and change once more where the network generalizes"
    return "How the magnitude masks of checkpoints resemble one another"


def _choose_layer(
    figure: go.Figure, measured: Mapping[str, xr.Dataset], layers: Sequence[str], first: int
) -> None:
    """A menu that shows the pairs of one layer, or of the whole network."""
    short = short_names(layers)
    buttons = []
    for layer in [WHOLE, *(each for each in layers if each != WHOLE)]:
        images = [
            _pairs(dataset, layer).z if layer in dataset.layer else None
            for dataset in measured.values()
        ]
        buttons.append(
            {
                "label": "all weights" if layer == WHOLE else short[layer],
                "method": "restyle",
                "args": [{"z": images}, list(range(first, first + len(images)))],
            }
        )
    top = figure.get_subplot(3, 1).yaxis.domain[1]
    figure.update_layout(
        updatemenus=[
            {
                "buttons": buttons,
                "x": 0,
                "xanchor": "left",
                "y": top + 0.024,
                "yanchor": "bottom",
                "pad": {"t": 0, "b": 0},
            }
        ]
    )
