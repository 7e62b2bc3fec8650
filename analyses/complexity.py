"""How complex is the network? Linear regions around the data, compressed size, effective ranks.

Three measures of what a network that memorizes needs and one that has found the rule does not.
*Local complexity*: how many ReLUs have their kink near an example, the density of linear regions
around the data (Humayun, Balestriero and Baraniuk 2024, arXiv 2402.15555). *Compressed size*: the
bytes of the weights after bzip2, rounded as coarsely as the training loss allows (DeMoss et al.
2024, arXiv 2412.09810). *Effective rank* of each weight matrix (Roy and Vetterli 2007); effective
rank and participation ratio of the neurons' activations.

It is asked of 20 checkpoints, evenly spaced by log step, unless more are asked for.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from torch import Tensor

from mechgrok.analyses.drawing import Panels, Row
from mechgrok.analyses.measures.complexity import (
    FIRST,
    coarsest,
    cross_polytope,
    first_inputs,
    local_complexity,
    participation_ratio,
    truncated,
)
from mechgrok.analyses.measures.finite import and_left_out, looked_at
from mechgrok.analyses.measures.geometry import effective_rank
from mechgrok.analyses.measures.judging import Judge, some
from mechgrok.analyses.measures.spacing import log_spaced, some_of
from mechgrok.errors import UserError
from mechgrok.models import HookedModel
from mechgrok.models.wiring import short_names
from mechgrok.results.variables import Variable, described
from mechgrok.runs import Run

SIDES = ("train", "test")
#: Of the sum of the singular values, what truncated weights may keep.
_SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4)
#: Examples whose activations are told the dimension of.
_MOST = 4096


VARIABLES = {
    "compressed_size": Variable(
        "step",
        "bytes",
        "size of the weights after bzip2, rounded as coarsely as the training loss allows",
    ),
    "bin_width": Variable(
        "step", "weight", "what the weights are rounded to multiples of; NaN where no width will do"
    ),
    "effective_rank": Variable(
        "step, weight",
        "dimensions",
        "exp(−Σ q ln q), q = σ / Σ σ, σ the singular values of the matrix",
    ),
    "participation_ratio": Variable(
        "step, layer", "dimensions", "(Σλ)² / Σλ², λ the eigenvalues of activations' covariance"
    ),
    "activation_rank": Variable(
        "step, layer", "dimensions", "effective rank of the activations around their mean"
    ),
    "local_complexity": Variable(
        "step, side, layer",
        "neurons",
        "ReLUs whose sign changes around an example, mean over examples",
    ),
    "neurons": Variable("layer", "neurons", "how many ReLUs the layer has"),
    "layer": Variable("layer", "none", "a hidden layer's name"),
}


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    checkpoints: Annotated[int, "how many to look at, evenly by log step; --steps names them"] = 20,
    radius: Annotated[float, "of the neighbourhood of an example"] = 0.1,
    scale: Annotated[
        Literal["relative", "absolute"], "radius in units of the inputs' size, or as it is"
    ] = "relative",
    directions: Annotated[int, "of the cross-polytope, two vertices each"] = 20,
    examples: Annotated[int, "of each side, for the local complexity"] = 128,
    epsilon: Annotated[float, "by how much rounding may raise the training loss"] = 0.0625,
    compression: Annotated[
        Literal["rounded", "low-rank"], "round the weights, or their truncated factors too"
    ] = "rounded",
    seed: Annotated[int, "of directions and examples"] = 0,
) -> xr.Dataset:
    """How complex the network is at some checkpoints, or at the given steps.

    Returns:
        `VARIABLES`. The attribute ``raw_size`` is the bytes of the weights in float32, those kept
        where there is a mask.

    Raises:
        UserError: a number is out of its range.
    """
    _check(radius, epsilon, checkpoints=checkpoints, directions=directions, examples=examples)
    at, of_steps = looked_at(run, steps, partial(log_spaced, count=checkpoints))
    layers = [layer.group for layer in run.wiring.hidden]
    matrices = [name for name in run.weight_names if name in run.wiring.connections]
    judge = Judge(run, ["train"])
    sizes = [_size(judge, step, epsilon, compression == "low-rank") for step in at]
    folds = _Folds(run, radius, scale == "relative", directions, examples, seed)
    activations = [_activations(run.model(step), run, seed) for step in at]
    values: dict[str, Any] = {
        "compressed_size": [size for _, size in sizes],
        "bin_width": [width for width, _ in sizes],
        "effective_rank": [[_rank(run, step, name) for name in matrices] for step in at],
        "participation_ratio": [
            [participation_ratio(each) for each in of_layers] for of_layers in activations
        ],
        "activation_rank": [[_spread(each) for each in of_layers] for of_layers in activations],
    }
    if getattr(run.config.model, "act", None) == "relu":
        values["local_complexity"] = [folds(step) for step in at]
        values["neurons"] = [run.wiring.groups[layer].size for layer in layers]
    return described(
        VARIABLES,
        values,
        coords={"step": at, "layer": layers, "weight": matrices, "side": list(SIDES)},
        attrs={
            "radius": radius,
            "scale": scale,
            "epsilon": epsilon,
            "compression": compression,
            "raw_size": 4 * round(run.n_parameters * (1 if run.density is None else run.density)),
            **of_steps,
            **run.milestones,
        },
    )


def _check(radius: float, epsilon: float, **counts: int) -> None:
    for name, number in counts.items():
        if number < 1:
            raise UserError(f"{name} = {number} is too few: give 1 or more.")
    for name, size in (("radius", radius), ("epsilon", epsilon)):
        if not 0 < size < float("inf"):
            raise UserError(f"{name} = {size:g} allows nothing: give a number above 0.")


class _Folds:
    """The local complexity of a run at a step: the same examples and directions at every one."""

    def __init__(
        self, run: Run, radius: float, relative: bool, directions: int, examples: int, seed: int
    ) -> None:
        self.run, self.radius, self.relative = run, radius, relative
        self.directions, self.seed = directions, seed
        self.inputs = [some(getattr(run.task, side), examples, seed).inputs for side in SIDES]
        self.hooks = [layer.hook.replace("hook_post", "hook_pre") for layer in run.wiring.hidden]

    def __call__(self, step: int) -> list[list[float]]:
        """Neurons per example ``[side][layer]``."""
        model = self.run.model(step)
        if not {FIRST, *self.hooks} <= model.hook_dict.keys():
            return [[np.nan] * len(self.hooks) for _ in SIDES]  # a model of one's own
        read = torch.cat([first_inputs(model, inputs) for inputs in self.inputs])
        generator = torch.Generator().manual_seed(self.seed)
        vertices = cross_polytope(read.shape[1], self.directions, generator)
        radius = self.radius
        if self.relative:
            radius *= float(read.double().square().sum(1).mean().sqrt())
        counts = (
            local_complexity(model, inputs, self.hooks, radius * vertices) for inputs in self.inputs
        )
        return [count.double().mean(0).tolist() for count in counts]


def _size(judge: Judge, step: int, epsilon: float, low_rank: bool) -> tuple[float, float]:
    """The width of the bins, and the bytes of the weights after bzip2."""
    weights = judge.run.checkpoint(step).effective_weights
    allowed = judge(weights)[0][0] + epsilon

    def accepts(rounded: Mapping[str, Tensor]) -> bool:
        return judge(rounded)[0][0] <= allowed

    found = [
        coarsest(parts, accepts)
        for share in (_SHARES if low_rank else (1.0,))
        for parts in [{n: truncated(w, share) if low_rank else [w] for n, w in weights.items()}]
    ]
    return min(
        (each for each in found if each is not None),
        key=lambda each: each[1],
        default=(np.nan, np.nan),
    )


def _rank(run: Run, step: int, name: str) -> float:
    weight = run.weights(name, [step])
    return float(effective_rank(run.wiring.matrix(name, weight))[0])


def _spread(points: Tensor) -> float:
    """The effective rank of points around their mean."""
    return float(effective_rank((points.double() - points.double().mean(0))[None])[0])


@torch.no_grad()
def _activations(model: HookedModel, run: Run, seed: int) -> list[Tensor]:
    """What the neurons of each layer are ``[example, neuron]``, where the answer is read."""
    hooks = [layer.hook for layer in run.wiring.hidden]
    inputs = some(run.task.examples, _MOST, seed).inputs
    _, cache = model.run_with_cache(inputs, names_filter=lambda name: name in hooks)
    return [cache[hook][:, -1] if cache[hook].ndim == 3 else cache[hook] for hook in hooks]


def finding(dataset: xr.Dataset) -> str:
    """How the compressed size and the local complexity go, and what the activations need."""
    words = f"compressed size {_course(dataset.compressed_size / 1000, '.3g')} kB"
    words += f" of {dataset.attrs['raw_size'] / 1000:,.3g}"
    if _has_regions(dataset):
        near = dataset.local_complexity.sum("layer")
        total = int(dataset.neurons.sum())
        words += "; " + ", ".join(
            f"{_course(near.sel(side=side), '.1f')} of {total} neurons change sign around a {side} "
            "example"
            for side in SIDES
        )
    last = dataset.isel(step=-1)
    dimensions = ", ".join(f"{value:.1f}" for value in last.participation_ratio.to_numpy())
    words += f"; activations vary in {dimensions} directions at step {int(last.step):,}"
    some = some_of(dataset.sizes["step"], dataset.attrs["of_checkpoints"])
    return and_left_out(words + some, dataset)


def _has_regions(dataset: xr.Dataset) -> bool:
    """Whether the network was found to be one of ReLUs whose inputs can be moved."""
    return "local_complexity" in dataset and bool(dataset.local_complexity.notnull().any())


def _course(values: xr.DataArray, form: str) -> str:
    """The first value, the highest with its step, and the last; one value as it is."""
    known = values[np.isfinite(values.to_numpy())]
    if known.size < 2:
        return f"{float(known[0]):{form}}" if known.size else "unknown"
    top = known[int(known.to_numpy().argmax())]
    first, last = float(known[0]), float(known[-1])
    return f"{first:{form}} → {float(top):{form}} (step {int(top.step):,}) → {last:{form}}"


# --- figure -------------------------------------------------------------------------------------

_ACROSS = 4
_DASH = {"train": "solid", "test": "dash"}
_FROM_ZERO = {"rangemode": "tozero"}


def draw(
    measured: Mapping[str, xr.Dataset],
    *,
    log: Annotated[bool, "logarithmic step axis"] = True,
) -> go.Figure:
    """Compressed size, local complexity, dimension of activations; ranks of weights below."""
    first = next(iter(measured.values()))
    unit = " × the inputs' size" if first.attrs["scale"] == "relative" else ""
    figure = Panels(
        measured,
        title=_title(measured),
        subtitle=f"rounding may raise the training loss by {first.attrs['epsilon']:g}; regions "
        f"within {first.attrs['radius']:g}{unit} of an example; solid: train, dashed: test",
        log=log,
    )
    row = figure.row(height=240)
    size = row.over_training("compressed weights", y=_FROM_ZERO | {"title": "kB"})
    for label, dataset in measured.items():
        curve = dataset.compressed_size / 1000
        size.lines(dataset.step, curve, run=label, value="%{y:,.4g} kB")
    near = row.over_training("neurons that change sign nearby", y=_FROM_ZERO)
    for label, dataset in measured.items():
        if not _has_regions(dataset):
            continue
        for side, dash in _DASH.items():
            curve = dataset.local_complexity.sel(side=side).sum("layer")
            near.lines(dataset.step, curve, run=label, dash=dash, value="%{y:.2f} neurons")
    if not any(map(_has_regions, measured.values())):
        near.say("linear regions are those of ReLUs")
    row = figure.row(height=220)
    _by_layer(row, measured, "participation_ratio", "participation ratio of activations")
    _by_layer(row, measured, "activation_rank", "effective rank of activations")
    _by_weight(figure, measured)
    return figure.draw()


def _title(measured: Mapping[str, xr.Dataset]) -> str:
    """How far the compressed size falls from its peak, for each run."""
    told = []
    for label, dataset in measured.items():
        size = dataset.compressed_size.to_numpy() / 1000
        size = size[np.isfinite(size)]
        if not size.size:
            return "The complexity of the network over training"
        words = f"from {size.max():,.3g} to {size[-1]:,.3g} kB"
        told.append(f"{words} ({label})" if len(measured) > 1 else words)
    return f"From its peak to the end the compressed network goes {', '.join(told)}"


def _by_layer(row: Row, measured: Mapping[str, xr.Dataset], name: str, title: str) -> None:
    panel = row.over_training(title, y=_FROM_ZERO)
    for label, dataset in measured.items():
        layers = dataset.layer.to_numpy().tolist()
        for at, layer in enumerate(layers):
            dash = ("solid", "dash", "dashdot", "dot")[at % 4]
            key = {"key": layer} if len(layers) > 1 else {}
            curve = dataset[name].sel(layer=layer)
            panel.lines(dataset.step, curve, run=label, dash=dash, value="%{y:.2f}", **key)


def _by_weight(figure: Panels, measured: Mapping[str, xr.Dataset]) -> None:
    weights = list(dict.fromkeys(str(w) for ds in measured.values() for w in ds.weight.to_numpy()))
    short = short_names(weights)
    for at, weight in enumerate(weights):
        if at % _ACROSS == 0:
            row = figure.row(height=150)
        title = {"title": "effective rank"} if at % _ACROSS == 0 else {}
        panel = row.over_training(short[weight], y=_FROM_ZERO | title, marks=())
        for label, dataset in measured.items():
            if weight in dataset.weight:
                curve = dataset.effective_rank.sel(weight=weight)
                panel.lines(dataset.step, curve, run=label, value="%{y:.1f}")
    row.fill(_ACROSS)
