"""What do the weight matrices and their masks look like? Images over training.

The mask is the run's own if it has one, else the magnitude mask of a ticket drawn at that step. A
grokked network's weights and mask show the waves of its frequencies along the tokens; masks of
pruning at initialization do not (Minegishi et al. 2023, arXiv 2310.19470, version 3, fig. 18 and
19).
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from math import prod
from typing import Annotated, Any, Literal

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float, Integer, Shaped
from torch import Tensor

from mechgrok.analyses.drawing import DIVERGING, Colors, Measured, Panels, Row, representatives
from mechgrok.analyses.measures.finite import select_finite_steps
from mechgrok.analyses.measures.formats import format_change, format_steps, with_skipped_note
from mechgrok.analyses.measures.fourier import (
    amplitude_spectrum,
    dominant_frequency,
    joint_amplitude,
    power_share,
)
from mechgrok.analyses.measures.masks import kept_edges
from mechgrok.analyses.measures.residues import not_modular, residues
from mechgrok.analyses.measures.spacing import thin
from mechgrok.masks import check_rate
from mechgrok.models.wiring import short_names
from mechgrok.results.variables import Variable, described, for_each
from mechgrok.runs import Run

#: The most entries of an image; larger matrices are pooled.
_LARGEST_IMAGE = 2**16
#: The pixels of all images, which set the default number of checkpoints, from 3 to 6.
_PIXELS, _FEWEST, _MOST = 1_200_000, 3, 6


VARIABLES = {
    "{W}": Variable(
        "step, {W} row, {W} column", "weight", "the entries of θ ⊙ m, heads side by side"
    ),
    "{W} kept": Variable("step, {W} row, {W} column", "none", "whether the mask keeps the entry"),
    "{W} row": Variable("{W} row", "none", "the row's number, in the chosen order"),
    "{W} column": Variable("{W} column", "none", "the column's number, in the chosen order"),
}


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    rate: Annotated[float, "prune rate of the magnitude mask, for runs without a mask"] = 0.6,
    order: Annotated[
        Literal["frequency", "index"], "neurons and d_model by last frequency, or by number"
    ] = "frequency",
) -> xr.Dataset:
    """Make images of every matrix at a few checkpoints, or at the given steps.

    Returns:
        `VARIABLES`, for each weight W. In order of frequency, neurons are sorted by the strongest
        frequency of their input side at the last step, d_model by that of W_E's column. An image
        of a matrix with more than 65,536 entries contains the strongest entry of each block,
        indexed by the block's first row and column.
    """
    check_rate(rate)
    wiring = run.wiring
    names = [name for name in run.weight_names if name in wiring.connections]
    shapes = {name: tuple(len(units) for units in wiring.ends(name)) for name in names}
    blocks = {name: _block(*shapes[name]) for name in names}
    count = partial(thin, count=_count(shapes, blocks))
    steps, of_steps = select_finite_steps(run, steps, count)
    frequencies = _frequencies(run, steps[-1]) if order == "frequency" else {}
    masks = [kept_edges(run.checkpoint(step), rate) for step in steps]
    short = short_names(names)
    values: dict[str, np.ndarray] = {}
    coords: dict[str, Sequence[int] | np.ndarray] = {"step": steps}
    for name in names:
        mask = torch.stack([mask[name] for mask in masks])
        units = [
            _order(frequencies.get(axis), size)
            for axis, size in zip(wiring.axes(name), shapes[name], strict=True)
        ]
        images = [wiring.matrix(name, values) for values in (run.weights(name, steps), mask)]
        weight, mask = (image[:, units[0]][:, :, units[1]] for image in images)
        strongest = _strongest(weight, blocks[name])
        for label, image in ((short[name], weight), (f"{short[name]} kept", mask)):
            values[label] = _pooled(image, strongest, blocks[name]).numpy()
        for side, numbers, stride in zip(("row", "column"), units, blocks[name], strict=True):
            last = len(numbers) // stride * stride
            coords[f"{short[name]} {side}"] = numbers[:last:stride].numpy()
    dataset = described(
        for_each(VARIABLES, "W", short.values()),
        values,
        coords=coords,
        attrs={
            "weights": [short[name] for name in names],
            "mask": "its own mask" if run.mask is not None else f"the {1 - rate:.0%} largest",
            "order": "frequency" if frequencies else "index",
            **of_steps,
        },
    )
    for name in names:
        for label in (short[name], f"{short[name]} kept"):
            dataset[label].attrs["axes"] = list(wiring.axes(name))
    return dataset


def _count(shapes: Mapping[str, tuple[int, ...]], blocks: Mapping[str, tuple[int, int]]) -> int:
    """The number of checkpoints with `_PIXELS` in all images, within bounds."""
    pixels = sum(prod(shapes[name]) // prod(block) for name, block in blocks.items())
    return min(_MOST, max(_FEWEST, _PIXELS // pixels))


def _frequencies(run: Run, step: int) -> dict[str, Integer[Tensor, " unit"]]:
    """The strongest frequency of each neuron, and of each column of W_E, on modular tasks."""
    if not_modular(run.task) or run.wiring.embedding is None:
        return {}
    tokens = residues(run.task)
    W_E = run.embedding([step])[:, tokens]
    neurons = run.input_sides([step], path="auto")[:, 0, tokens]
    return {
        axis: dominant_frequency(
            power_share(joint_amplitude(amplitude_spectrum, signals.mT), len(tokens))
        )
        for axis, signals in (("d_model", W_E), ("neuron", neurons))
    }


def _order(frequency: Integer[Tensor, " unit"] | None, size: int) -> Integer[Tensor, " unit"]:
    if frequency is None or len(frequency) != size:
        return torch.arange(size)
    return frequency.argsort(stable=True)


def _block(rows: int, columns: int) -> tuple[int, int]:
    """The rows and columns per pixel: halves the longer side until the image fits."""
    by_row = by_column = 1
    while (rows // by_row) * (columns // by_column) > _LARGEST_IMAGE:
        if rows / by_row > columns / by_column:
            by_row *= 2
        else:
            by_column *= 2
    return by_row, by_column


def _blocks(
    image: Shaped[Tensor, "step row column"], block: tuple[int, int]
) -> Shaped[Tensor, "step row column entry"]:
    """The entries of every full block; drops remaining rows and columns."""
    tiles = image.unfold(1, block[0], block[0]).unfold(2, block[1], block[1])
    return tiles.flatten(3)


def _strongest(
    weight: Float[Tensor, "step row column"], block: tuple[int, int]
) -> Integer[Tensor, "step row column 1"]:
    return _blocks(weight, block).abs().argmax(-1, keepdim=True)


def _pooled(
    image: Shaped[Tensor, "step row column"],
    entry: Integer[Tensor, "step row column 1"],
    block: tuple[int, int],
) -> Shaped[Tensor, "step row column"]:
    """The chosen entry of every block."""
    return _blocks(image, block).gather(-1, entry).squeeze(-1)


def finding(dataset: xr.Dataset) -> str:
    """The unpruned share of each matrix at the first and the last step."""
    shares = ", ".join(
        f"{name} {format_change(dataset[f'{name} kept'].mean(dataset[name].dims[1:]), '.0%')}"
        for name in dataset.attrs["weights"]
    )
    text = f"kept ({dataset.attrs['mask']}) {format_steps(dataset)}: {shares}"
    return with_skipped_note(text, dataset)


def draw(measured: Measured) -> go.Figure:
    """Weights and masks of each run in two columns, one row per matrix, with a slider."""
    measured = representatives(measured)
    names = list(dict.fromkeys(name for ds in measured.values() for name in ds.attrs["weights"]))
    limits = {name: _limit(measured, name) for name in names}
    largest = max(limits.values())
    # Three digits suffice for colours and limit the size of the page.
    digits = math.floor(math.log10(999 / largest)) if largest > 0 else 0
    figure = Panels(
        measured,
        title="Weights and masks over training",
        subtitle="dark: unpruned; colours end at each weight's 99.5th percentile",
        stops=_MOST,
    )
    for name in names:
        limit = limits[name] * 10.0**digits
        ticks = [f"{value:.2g}" for value in (-limits[name], 0, limits[name])]
        colors = figure.colors(
            "", -limit, limit, scale=DIVERGING, tickvals=[-limit, 0, limit], ticktext=ticks
        )
        row = figure.row(height=_height(measured, name))
        for label, dataset in measured.items():
            if name in dataset:
                _draw_matrix(row, dataset, label, name, colors, digits)
            else:
                row.empty(2)
    return figure.draw()


#: Colours of the mask: pruned entries light, others dark.
_KEPT = [[0, "#F2F2F2"], [0.5, "#F2F2F2"], [0.5, "#222222"], [1, "#222222"]]


def _draw_matrix(
    row: Row, dataset: xr.Dataset, label: str, name: str, colors: Colors, digits: int
) -> None:
    """Draw a weight, in integer multiples of 10^−digits, and its mask.

    A matrix taller than wide is transposed.
    """
    (_, *shape), axes = dataset[name].shape, dataset[name].attrs["axes"]
    is_tall = shape[0] > shape[1]
    (down, across), (y, x) = (shape[::-1], axes[::-1]) if is_tall else (shape, axes)
    axis = {"showgrid": False, "nticks": 4}
    prefix = f"{label}: " if len(row.figure.measured) > 1 else ""
    weight = row.panel(f"{prefix}{name}", x={"title": x, **axis}, y={"title": y, **axis})
    mask = row.panel(
        f"{prefix}mask of {name}", x={"title": x, **axis}, y={"showticklabels": False, **axis}
    )
    # Positions, because an axis of unit numbers would restore the numerical order.
    places: dict[str, Any] = {"x": np.arange(across), "y": np.arange(down)}
    where = f"{name}<br>{x} at place %{{x}}<br>{y} at place %{{y}}<br>"

    def weights_at(now: xr.Dataset) -> dict[str, np.ndarray]:
        values = np.clip(now[name].to_numpy().astype(float) * 10.0**digits, -32767, 32767)
        values = values.round().astype(np.int16)
        return {"z": values.T if is_tall else values}

    def mask_at(now: xr.Dataset) -> dict[str, np.ndarray]:
        values = now[f"{name} kept"].to_numpy().astype(np.uint8)
        return {"z": values.T if is_tall else values}

    hover = f"{where}weight × 10{_superscript(digits)}: %{{z}}"
    weight.heat(colors, run=label, at=weights_at, hover=hover, **places)
    shades: dict[str, Any] = {"colorscale": _KEPT, "zmin": 0, "zmax": 1, "showscale": False}
    mask.add("heatmap", run=label, at=mask_at, hover=f"{where}kept %{{z}}", **shades, **places)


def _limit(measured: Measured, name: str) -> float:
    """The end of the colour scale: the 99.5th percentile of the last absolute weights."""
    sizes = [np.abs(ds[name][-1].to_numpy()) for ds in measured.values() if name in ds]
    return max(float(np.quantile(size, 0.995)) for size in sizes)


def _height(measured: Measured, name: str) -> float:
    """The height of a matrix in pixels, from its shorter side."""
    short_sides = [min(ds[name].shape[1:]) for ds in measured.values() if name in ds]
    return float(np.clip(1.7 * max(short_sides), 60, 240))


def _superscript(number: int) -> str:
    return str(number).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
