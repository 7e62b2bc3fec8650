"""When does the subnetwork settle? Magnitude masks of all checkpoints, compared by Jaccard.

The magnitude mask m_t of a checkpoint keeps its (1 − k) largest weights; it is the lottery ticket
drawn from that checkpoint. Jaccard similarity is JS(a, b) = |a ∩ b| / |a ∪ b|, distance
JD = 1 − JS. Near generalization the masks approach the final mask, and the distance between m_t and
m_{t+δt} follows the rise of test accuracy (Minegishi et al. 2023, arXiv 2310.19470, version 2,
fig. 6, or version 3, fig. 7).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from mechgrok.analyses.drawing import (
    GREY,
    LogAxis,
    Measured,
    Panel,
    Panels,
    Row,
    representatives,
    run_colors,
)
from mechgrok.analyses.measures.curves import JUDGED, judged_curve
from mechgrok.analyses.measures.finite import last_finite_step, select_finite_steps
from mechgrok.analyses.measures.formats import format_change, format_steps, with_skipped_note
from mechgrok.analyses.measures.masks import magnitude_mask
from mechgrok.analyses.measures.spacing import thin
from mechgrok.errors import UserError
from mechgrok.masks import Mask, Scope, check_rate
from mechgrok.models.wiring import short_names
from mechgrok.results.variables import Variable, described
from mechgrok.runs import Run

#: The layer name for all weights together.
WHOLE = "all"
#: The most mask entries per matrix product, which limits 0/1 floats to 200 MB.
_LARGEST = 2**25
#: The most masks that each mask is compared with.
_OTHERS = 320


VARIABLES = {
    "similarity": Variable(
        "step, layer",
        "share",
        "JS(m_t, reference), JS(a, b) = |a ∩ b| / |a ∪ b|, m_t the mask at the step",
    ),
    "distance": Variable(
        "step, layer", "share", "JD(m_t, m_s) = 1 − JS(m_t, m_s), s the step in later"
    ),
    "pairwise": Variable("step, other_step, layer", "share", "JS(m_t, m_s), s the other step"),
    "density": Variable("step, layer", "share", "unpruned share of the weight"),
    "later": Variable("step", "step", "the checkpoint within δt/10 of t + δt; −1 if none"),
    **JUDGED,
    "accuracy_change": Variable(
        "step", "share", "test accuracy at the later step minus that at the step"
    ),
    "log_loss_fall": Variable(
        "step", "decades", "log10 (test loss at the step / test loss at the later step)"
    ),
    "other_step": Variable("other_step", "step", "all steps, at most 320 of them"),
    "layer": Variable("layer", "none", "a weight's name; all: the network"),
}
#: The variables over steps that use labels of the test set.
USES_TEST_LABELS = ("test_accuracy", "test_loss", "accuracy_change", "log_loss_fall")
#: The variables over steps that use later checkpoints.
USES_LATER_STEPS = ("later", "accuracy_change", "log_loss_fall")


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    rate: Annotated[float, "prune rate k of the magnitude masks"] = 0.6,
    scope: Annotated[Literal["global", "layer"], "one threshold, or one per weight"] = "global",
    lag: Annotated[int | None, "δt in steps; default: near a 15th of the run"] = None,
    reference: Annotated[Path | None, "a run or a mask's file; default: this run"] = None,
    reference_step: Annotated[int | None, "checkpoint of the reference; default: last"] = None,
) -> xr.Dataset:
    """Compare the masks of every checkpoint, or of the given steps, with one another.

    Matrices are pruned, biases are not; weights pruned by a run's own mask count as zero.

    Returns:
        `VARIABLES`. The attribute ``other_steps`` is the number of other steps, if not all.

    Raises:
        UserError: the rate is outside [0, 1), or the reference has other weights.
    """
    check_rate(rate)
    if lag is not None and lag < 1:
        raise UserError(f"A lag of {lag} steps is too small: choose 1 or more.")
    steps, of_steps = select_finite_steps(run, steps)
    others = thin(steps, _OTHERS)
    masks = [_mask(run, step, rate, scope) for step in steps]
    target, reference_name = _reference(run, reference, reference_step, rate, scope)
    _check_reference(run, reference, masks[0], target)
    lag = _usual_lag(steps) if lag is None else lag
    later = _later(steps, lag)
    at = np.maximum(later, 0)
    similarity, distance, pairwise = _compared(masks, target, at, list(map(steps.index, others)))
    distance[later < 0] = np.nan
    quantity, curve = judged_curve(run, steps)
    rise = curve[at] - curve if quantity == "test_accuracy" else np.log10(curve / curve[at])
    change_name = "accuracy_change" if quantity == "test_accuracy" else "log_loss_fall"
    return described(
        VARIABLES,
        {
            "similarity": similarity.astype(np.float32),
            "distance": distance.astype(np.float32),
            "pairwise": pairwise.astype(np.float32),
            "density": _densities(masks),
            "later": np.where(later < 0, -1, np.array(steps)[at]),
            quantity: curve,
            change_name: np.where(later < 0, np.nan, rise),
        },
        coords={"step": steps, "other_step": others, "layer": [*masks[0], WHOLE]},
        attrs={
            "rate": rate,
            "scope": scope,
            "lag": lag,
            "reference": reference_name,
            **({"other_steps": len(others)} if len(others) < len(steps) else {}),
            **of_steps,
        },
        words={"units of the loss": run.task.loss_units},
    )


def _reference(
    run: Run, reference: Path | None, step: int | None, rate: float, scope: Scope
) -> tuple[Mask, str]:
    """The reference mask and its name."""
    if reference is not None and Path(reference).is_file():
        return Mask.load(reference), Path(reference).name
    other = run if reference is None else Run(reference)
    at = last_finite_step(other) if step is None else other.select([step])[0]
    name = f"step {at:,}" if reference is None else f"{other.name} at step {at:,}"
    return _mask(other, at, rate, scope), name


def _mask(run: Run, step: int, rate: float, scope: Scope) -> Mask:
    weights = run.checkpoint(step).effective_weights
    return magnitude_mask({name: weights[name] for name in run.weight_names}, rate, scope)


def _check_reference(run: Run, reference: Path | None, mask: Mask, target: Mask) -> None:
    for name, entries in mask.items():
        if name not in target or target[name].shape != entries.shape:
            raise UserError(
                f"The reference {reference} has no weight {name} of shape {tuple(entries.shape)}: "
                f"give a run or a mask of the same model as {run.path}."
            )


def _compared(
    masks: Sequence[Mask], target: Mask, at: Integer[np.ndarray, " step"], others: list[int]
) -> tuple[
    Float[np.ndarray, "step layer"],
    Float[np.ndarray, "step layer"],
    Float[np.ndarray, "step other layer"],
]:
    """JS with the target, JD with the masks ``at`` later steps, and JS with the ``others``."""
    sizes, target_sizes, shared, moved, common = [], [], [], [], []
    for name in masks[0]:
        stack = torch.stack([mask[name].flatten() for mask in masks])
        reference = target[name].flatten()
        sizes.append(_counts(stack))
        target_sizes.append(_counts([reference])[0])
        shared.append(_counts(mask & reference for mask in stack))
        moved.append(_counts(mask & stack[b] for mask, b in zip(stack, at, strict=True)))
        is_complete = len(others) == len(stack)
        common.append(intersections(stack, stack if is_complete else stack[others]))
    size = _with_whole(sizes)
    return (
        _jaccard(_with_whole(shared), size, _with_whole(target_sizes)),
        1 - _jaccard(_with_whole(moved), size, size[at]),
        _jaccard(_with_whole(common), size[:, None], size[None, others]),
    )


def _counts(masks: Iterable[Bool[Tensor, " entry"]]) -> Integer[np.ndarray, " mask"]:
    # Row by row, count_nonzero is several times as fast as a sum.
    return np.array([np.count_nonzero(mask.numpy()) for mask in masks])


def _densities(masks: Sequence[Mask]) -> Float[np.ndarray, "step layer"]:
    """The unpruned share of each weight, and of all weights."""
    return np.array([[*mask.densities.values(), mask.density] for mask in masks])


def intersections(
    masks: Bool[Tensor, "mask entry"], others: Bool[Tensor, "other entry"]
) -> Float[np.ndarray, "mask other"]:
    """|a ∩ b| for every pair of masks, as a product of 0/1 matrices, exact in float32."""
    total = torch.zeros(len(masks), len(others), dtype=torch.float64)
    width = max(1, _LARGEST // (len(masks) + len(others)))
    for part, other_part in zip(masks.split(width, 1), others.split(width, 1), strict=True):
        ones = part.float()
        total += ones @ (ones if others is masks else other_part.float()).T
    return total.numpy()


def _with_whole(
    per_layer: Sequence[Integer[np.ndarray, "*mask"]],
) -> Float[np.ndarray, "*mask layer"]:
    """Stack the counts of the layers along a last axis, and append their sum for the network."""
    stacked = np.stack(per_layer, -1)
    return np.concatenate([stacked, stacked.sum(-1, keepdims=True)], -1)


def _jaccard(
    common: Float[np.ndarray, "*any"], a: Float[np.ndarray, "*any"], b: Float[np.ndarray, "*any"]
) -> Float[np.ndarray, "*any"]:
    """|a ∩ b| / |a ∪ b| from counts; 1 if both are empty."""
    union = a + b - common
    return np.divide(common, union, out=np.ones(np.shape(union)), where=union > 0)


def _later(steps: Sequence[int], lag: int) -> Integer[np.ndarray, " step"]:
    """The index of the checkpoint nearest to each step + lag; −1 if farther than lag / 10."""
    at = np.array(steps)
    position = np.abs(at[None] - (at[:, None] + lag)).argmin(1)
    near = np.abs(at[position] - (at + lag)) <= lag / 10
    return np.where(near & (at[position] > at), position, -1)


def _usual_lag(steps: Sequence[int]) -> int:
    """A 15th of the run, or the nearby multiple of a checkpoint gap with the most pairs.

    >>> _usual_lag(range(0, 30_001, 100)), _usual_lag([*range(0, 500, 25), *range(500, 1301, 100)])
    (2000, 100)
    """
    wanted = max(1, round(steps[-1] / 15))
    gaps = Counter(np.diff(steps).tolist()).most_common(8)
    lags = [wanted, *(gap * max(1, round(wanted / gap)) for gap, _ in gaps)]
    return max(lags, key=lambda lag: int((_later(steps, lag) >= 0).sum()))


def _change(dataset: xr.Dataset) -> xr.DataArray:
    return dataset["accuracy_change" if "accuracy_change" in dataset else "log_loss_fall"]


def peak(dataset: xr.Dataset) -> tuple[int, float] | None:
    """The step and distance where the distance over δt is highest above its earlier minimum.

    Early in training all weights move, in every network, and the distance then falls. The peak is
    where the distance rises again; None if it does not.
    """
    distance = dataset.distance.sel(layer=WHOLE)
    distance = distance[distance.notnull().to_numpy()]
    rise = distance.to_numpy() - np.minimum.accumulate(distance.to_numpy())
    if not rise.size or rise.max() < 0.01:
        return None
    at = int(rise.argmax())
    return int(distance.step[at]), float(distance[at])


def finding(dataset: xr.Dataset) -> str:
    """The first and last similarity to the reference, and the peak of the masks' change."""
    similarity = format_change(dataset.similarity.sel(layer=WHOLE), ".2f")
    if _is_fixed(dataset):
        text = f"k = {dataset.rate:g}: the mask is the same at every step"
        return with_skipped_note(text, dataset)
    highest, n_pairs = peak(dataset), _n_pairs(dataset)
    if n_pairs < _FEWEST:
        distance = f"is known for {n_pairs} of {dataset.sizes['step']} checkpoints: choose --lag"
    elif highest is None:
        distance = "does not rise again"
    else:
        distance = f"rises again to {highest[1]:.2f} at step {highest[0]:,}"
    text = (
        f"k = {dataset.rate:g}: similarity to {dataset.reference} {similarity} "
        f"{format_steps(dataset)}; the distance over δt = {dataset.lag:,} {distance}"
    )
    return with_skipped_note(text, dataset)


def _judged(dataset: xr.Dataset) -> str:
    """The name of the test curve in the task's criterion."""
    return "test accuracy" if "test_accuracy" in dataset else "test loss"


def draw(measured: Measured, *, log: LogAxis = True) -> go.Figure:
    """A column for each run: similarity to the reference, distance over δt, and all pairs."""
    measured = representatives(measured)
    first = next(iter(measured.values()))
    moving = {label: dataset for label, dataset in measured.items() if not _is_fixed(dataset)}
    fixed = ", ".join(label for label in measured if label not in moving)
    figure = Panels(
        measured,
        title="Similarity of the magnitude masks over training",
        subtitle=f"masks of the {1 - first.rate:.0%} largest weights; grey and dotted, on the "
        "right: the test curve and its change" + (f"; fixed mask: {fixed}" if fixed else ""),
        log=log,
    )
    if not moving:
        figure.row(height=60).note("", "a fixed mask has similarity 1 at every step")
        return figure.draw()
    layers = list(dict.fromkeys(str(name) for ds in measured.values() for name in ds.layer.values))
    highest = max(float(ds.distance.max()) for ds in measured.values())
    is_sparse = all(_n_pairs(dataset) < _FEWEST for dataset in moving.values())
    rows = [figure.row(height=height) for height in (230, 80 if is_sparse else 230, 310)]
    colors = figure.colors("Jaccard similarity", 0, 1)
    axis = {"type": "category", "nticks": 8 if len(measured) == 1 else 4}
    x, y = ({"title": f"training step {name}", **axis} for name in "ts")
    for label, dataset in moving.items():
        _draw_similarity(rows[0], dataset, label, layers)
        _draw_distance(rows[1], dataset, label, layers, 1.08 * highest if highest > 0 else 1)
        panel = rows[2].panel(f"{label}: similarity of all pairs", x=x, y=y)
        hover = "t = %{x}<br>s = %{y}<br>similarity %{z:.3f}"
        panel.heat(colors, run=label, choices=_pairs(dataset, layers), hover=hover)
    return figure.draw()


def _is_fixed(dataset: xr.Dataset) -> bool:
    """Whether all masks are the same, as those of a ticket."""
    return dataset.sizes["step"] > 1 and bool((dataset.pairwise.sel(layer=WHOLE) == 1).all())


_LOG = {"type": "log"}
#: The style of the test curve and of its change.
_BESIDE: dict[str, Any] = {"color": GREY, "dash": "dot", "value": "%{y:.3f}"}


def _draw_similarity(row: Row, dataset: xr.Dataset, label: str, layers: Sequence[str]) -> None:
    """Draw the similarity of every layer to the reference, with the test curve on the right."""
    judged, title = _judged(dataset), f"{label}: similarity to {dataset.reference}"
    panel = row.over_training(title, y={"title": "JS", "range": [0, 1.03]}, marks=[label])
    share = {"range": [0, 1.03], "tickformat": ".0%"}
    curve = panel.right({"title": judged, **(share if judged == "test accuracy" else _LOG)})
    curve.lines(dataset.step, dataset[judged.replace(" ", "_")], run=label, entry=judged, **_BESIDE)
    _draw_layers(panel, dataset, label, layers, "similarity")


def _draw_distance(
    row: Row, dataset: xr.Dataset, label: str, layers: Sequence[str], highest: float
) -> None:
    """Draw the distance of every layer over δt, with the change of the test curve on the right."""
    title = f"{label}: Jaccard distance over δt = {dataset.lag:,} steps"
    n_pairs, n_steps = _n_pairs(dataset), dataset.sizes["step"]
    if n_pairs < _FEWEST:
        note = f"{n_pairs} of {n_steps} checkpoints have another {dataset.lag:,} steps later:"
        row.note(title, f"{note}<br>save more checkpoints, or choose another lag")
        return
    panel = row.over_training(title, y={"title": "JD", "range": [0, highest]}, marks=[label])
    share = {"title": "change of test accuracy", "tickformat": "~%"}
    loss = {"title": "fall of log₁₀ loss"}
    right = panel.right({**(share if "accuracy_change" in dataset else loss), "nticks": 5})
    right.lines(dataset.step, _change(dataset), run=label, entry="its change over δt", **_BESIDE)
    _draw_layers(panel, dataset, label, layers, "distance")


#: The fewest pairs of checkpoints, δt apart, in a curve.
_FEWEST = 5


def _n_pairs(dataset: xr.Dataset) -> int:
    """The number of checkpoints with another one δt later."""
    return int((dataset.later >= 0).sum())


def _draw_layers(
    panel: Panel, dataset: xr.Dataset, label: str, layers: Sequence[str], name: str
) -> None:
    """Draw a curve for each layer in colour, and a thick black one for all weights."""
    # Skip the colours of runs, and black.
    shades = [*run_colors(map(str, range(32))).values()][len(panel.figure.measured) :]
    palette = [color for color in shades if color != "#000000"]
    short = short_names(layers)
    for place, layer in enumerate(layers):
        if layer not in dataset.layer:
            continue
        is_total = layer == WHOLE
        panel.lines(
            dataset.step,
            dataset[name].sel(layer=layer),
            run=label,
            entry="all weights" if is_total else short[layer],
            color="#000000" if is_total else palette[place % len(palette)],
            width=3 if is_total else 1.5,
            value=f"{name} %{{y:.3f}}",
        )


def _pairs(dataset: xr.Dataset, layers: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The similarity of pairs of at most 100 evenly chosen checkpoints, by layer.

    Empty for a layer that the run does not have.
    """
    stops = thin(dataset.other_step.to_numpy().tolist(), 100)
    ticks = [f"{step:,}" for step in stops]
    pairs = dataset.pairwise.sel(step=stops, other_step=stops)
    short = short_names(layers)
    return {
        "all weights" if layer == WHOLE else short[layer]: {
            "z": pairs.sel(layer=layer).to_numpy().round(3) if layer in dataset.layer else [],
            "x": ticks,
            "y": ticks,
        }
        for layer in [WHOLE, *(name for name in layers if name != WHOLE)]
    }
