"""How complex is the network? Linear regions around the data, compressed size, effective ranks.

Three measures that fall when a network replaces memorized examples by the rule. *Local complexity*:
the number of ReLUs with their kink near an example, a measure of the density of linear regions
around the data (Humayun, Balestriero and Baraniuk 2024, arXiv 2402.15555). *Compressed size*: the
size of the weights under bzip2, rounded as coarsely as the training loss allows (DeMoss et al.
2024, arXiv 2412.09810). *Effective rank* of each weight matrix (Roy and Vetterli 2007); effective
rank and participation ratio of the neurons' activations.

By default, 20 checkpoints are measured, evenly spaced by log step.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from mechgrok.analyses.drawing import LogAxis, Measured, Panels, Row, draw_weights
from mechgrok.analyses.measures.checks import check_at_least, check_positive
from mechgrok.analyses.measures.complexity import (
    FIRST,
    coarsest,
    cross_polytope,
    first_inputs,
    local_complexity,
    participation_ratio,
    truncated,
)
from mechgrok.analyses.measures.evaluation import Evaluator, subsample
from mechgrok.analyses.measures.finite import select_finite_steps
from mechgrok.analyses.measures.formats import format_course, with_skipped_note
from mechgrok.analyses.measures.geometry import effective_rank
from mechgrok.analyses.measures.neurons import activations
from mechgrok.analyses.measures.spacing import Checkpoints, log_spaced
from mechgrok.results.variables import Scalar, Variable, described
from mechgrok.runs import Run

SIDES = ("train", "test")
#: Shares of the sum of singular values tried for truncated weights.
_SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4)
#: The most examples with measured activations.
_MAX_EXAMPLES = 4096


VARIABLES = {
    "compressed_size": Variable(
        "step",
        "bytes",
        "size of the weights under bzip2, rounded as coarsely as the training loss allows",
    ),
    "bin_width": Variable(
        "step", "weight", "weights are rounded to its multiples; NaN if every width fails"
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
    "neurons": Variable("layer", "neurons", "number of ReLUs in the layer"),
    "layer": Variable("layer", "none", "a hidden layer's name"),
}
#: Summaries of variables with further dimensions, one number per step.
SCALARS = {
    "effective_rank": Scalar("effective_rank"),
    "participation_ratio": Scalar("participation_ratio"),
    "activation_rank": Scalar("activation_rank"),
    "train_local_complexity": Scalar("local_complexity", {"side": "train"}),
    "test_local_complexity": Scalar("local_complexity", {"side": "test"}),
}


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    checkpoints: Checkpoints = 20,
    radius: Annotated[float, "of the neighbourhood of an example"] = 0.1,
    scale: Annotated[
        Literal["relative", "absolute"], "radius in units of the inputs' size, or absolute"
    ] = "relative",
    directions: Annotated[int, "of the cross-polytope, two vertices each"] = 20,
    examples: Annotated[int, "of each side, for the local complexity"] = 128,
    epsilon: Annotated[float, "largest rise of the training loss through rounding"] = 0.0625,
    compression: Annotated[
        Literal["rounded", "low-rank"], "round the weights, or also their truncated factors"
    ] = "rounded",
    seed: Annotated[int, "of directions and examples"] = 0,
) -> xr.Dataset:
    """Measure the complexity of the network at evenly chosen checkpoints or at the given steps.

    Returns:
        `VARIABLES`. The attribute ``raw_size`` is the size of the weights in float32, in bytes;
        with a mask, of the unpruned weights.

    Raises:
        UserError: a number is out of its range.
    """
    check_at_least(1, checkpoints=checkpoints, directions=directions, examples=examples)
    check_positive(radius=radius, epsilon=epsilon)
    at, of_steps = select_finite_steps(run, steps, partial(log_spaced, count=checkpoints))
    groups = [layer.group for layer in run.wiring.hidden]
    matrices = [name for name in run.weight_names if name in run.wiring.connections]
    evaluator = Evaluator(run, ["train"])
    sizes = [_size(evaluator, step, epsilon, compression == "low-rank") for step in at]
    inputs = subsample(run.task.examples, _MAX_EXAMPLES, seed).inputs
    layers = [activations(run.model(step), run.wiring.hidden, inputs) for step in at]
    values: dict[str, Any] = {
        "compressed_size": [size for _, size in sizes],
        "bin_width": [width for width, _ in sizes],
        "effective_rank": [[_rank(run, step, name) for name in matrices] for step in at],
        "participation_ratio": [list(map(participation_ratio, of_step)) for of_step in layers],
        "activation_rank": [list(map(_rank_around_mean, of_step)) for of_step in layers],
    }
    if getattr(run.config.model, "act", None) == "relu":
        around = (radius, scale == "relative", directions, examples, seed)
        values["local_complexity"] = [_local_complexity(run, step, *around) for step in at]
        values["neurons"] = [run.wiring.groups[group].size for group in groups]
    return described(
        VARIABLES,
        values,
        coords={"step": at, "layer": groups, "weight": matrices, "side": list(SIDES)},
        attrs={
            "radius": radius,
            "scale": scale,
            "epsilon": epsilon,
            "compression": compression,
            "raw_size": 4 * round(run.n_parameters * (1 if run.density is None else run.density)),
            **of_steps,
        },
    )


def _local_complexity(
    run: Run, step: int, radius: float, relative: bool, directions: int, examples: int, seed: int
) -> list[list[float]]:
    """Neurons per example ``[side][layer]``, with the same examples at every step."""
    model = run.model(step)
    hooks = [layer.hook.replace("hook_post", "hook_pre") for layer in run.wiring.hidden]
    if not {FIRST, *hooks} <= model.hook_dict.keys():
        return [[np.nan] * len(hooks) for _ in SIDES]  # a user's own model
    sides = [subsample(getattr(run.task, side), examples, seed).inputs for side in SIDES]
    read = torch.cat([first_inputs(model, inputs) for inputs in sides])
    generator = torch.Generator().manual_seed(seed)
    vertices = cross_polytope(read.shape[1], directions, generator)
    if relative:
        radius *= float(read.double().square().sum(1).mean().sqrt())
    counts = (local_complexity(model, inputs, hooks, radius * vertices) for inputs in sides)
    return [count.double().mean(0).tolist() for count in counts]


def _size(evaluator: Evaluator, step: int, epsilon: float, low_rank: bool) -> tuple[float, float]:
    """The width of the bins, and the size of the weights under bzip2 in bytes."""
    weights = evaluator.run.checkpoint(step).effective_weights
    allowed = evaluator(weights)[0][0] + epsilon

    def accepts(rounded: Mapping[str, Tensor]) -> bool:
        return evaluator(rounded)[0][0] <= allowed

    sizes = []
    for share in _SHARES if low_rank else (1.0,):
        factors = {n: truncated(w, share) if low_rank else [w] for n, w in weights.items()}
        if (size := coarsest(factors, accepts)) is not None:
            sizes.append(size)
    return min(sizes, key=lambda size: size[1], default=(np.nan, np.nan))


def _rank(run: Run, step: int, name: str) -> float:
    weight = run.weights(name, [step])
    return float(effective_rank(run.wiring.matrix(name, weight))[0])


def _rank_around_mean(points: Float[Tensor, "point d"]) -> float:
    """The effective rank of points around their mean."""
    return float(effective_rank((points.double() - points.double().mean(0))[None])[0])


def finding(dataset: xr.Dataset) -> str:
    """The course of the compressed size and of the local complexity."""
    text = f"compressed size in kB {format_course(dataset.compressed_size / 1000)}"
    if (near := _near(dataset, "test")) is not None:
        text += f"; neurons that change sign around a test example {format_course(near, '.1f')}"
    return with_skipped_note(text, dataset)


# --- figure -------------------------------------------------------------------------------------

_DASH = {"train": "solid", "test": "dash"}
_FROM_ZERO: dict[str, Any] = {"rangemode": "tozero"}


def draw(measured: Measured, *, log: LogAxis = True) -> go.Figure:
    """Compressed size, local complexity and dimension of activations, above ranks of weights."""
    first = next(iter(measured.values()))
    unit = " × the inputs' size" if first.attrs["scale"] == "relative" else ""
    figure = Panels(
        measured,
        title="Complexity of the network over training",
        subtitle=f"rounding may raise the training loss by {first.attrs['epsilon']:g}; regions "
        f"within {first.attrs['radius']:g}{unit} of an example; solid: train, dashed: test",
        log=log,
    )
    row = figure.row(height=240)
    panel = row.over_training("compressed weights", y=_FROM_ZERO | {"title": "kB"})
    panel.curves(lambda dataset: dataset.compressed_size / 1000, value="%{y:,.4g} kB")
    panel = row.over_training("neurons that change sign nearby", y=_FROM_ZERO)
    if all(_near(dataset, "test") is None for dataset in measured.values()):
        panel.annotate("linear regions require ReLUs")
    for side, dash in _DASH.items():
        panel.curves(partial(_near, side=side), dash=dash, value="%{y:.2f} neurons")
    row = figure.row(height=220)
    _draw_layers(row, "participation_ratio", "participation ratio of activations")
    _draw_layers(row, "activation_rank", "effective rank of activations")
    ranks: dict[str, Any] = {"title": "effective rank", **_FROM_ZERO}
    draw_weights(figure, lambda ds: [(ds.effective_rank, {"value": "%{y:.1f}"})], **ranks)
    return figure.draw()


def _near(dataset: xr.Dataset, side: str) -> xr.DataArray | None:
    """The number of neurons in all layers that change sign around an example."""
    if "local_complexity" not in dataset:
        return None
    return dataset.local_complexity.sel(side=side).sum("layer", skipna=False)


def _draw_layers(row: Row, name: str, title: str) -> None:
    panel = row.over_training(title, y=_FROM_ZERO)
    for label, dataset in row.figure.measured.items():
        layers = dataset.layer.to_numpy().tolist()
        for at, layer in enumerate(layers):
            curve, dash = (
                dataset[name].sel(layer=layer),
                ("solid", "dash", "dashdot", "dot")[at % 4],
            )
            key = layer if len(layers) > 1 else None
            panel.lines(dataset.step, curve, run=label, key=key, dash=dash, value="%{y:.2f}")
