"""How curved is the loss, and what lies between two networks? Hessian, sharpness, lines, planes.

At each checkpoint the analysis measures the largest eigenvalues of the loss's Hessian and the most
negative one (Lanczos), the trace (Hutchinson), and the rise of the loss within a small radius
(sharpness; SAM: Foret et al. 2021, arXiv 2010.01412). It also measures the loss on the straight
line to the last checkpoint of this or another run, with its barrier (linear mode connectivity:
Frankle et al. 2020, arXiv 1912.05671), and on a random plane through the network with directions
normalized filter by filter (Li et al. 2018, arXiv 1712.09913). The loss is the task's, without
penalty and weight decay.

A checkpoint costs about forty gradients. By default, 16 checkpoints are measured, evenly spaced by
log step.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from mechgrok.analyses.drawing import Colors, LogAxis, Measured, Panel, Panels
from mechgrok.analyses.measures.checks import check_at_least, check_positive
from mechgrok.analyses.measures.curvature import ascent, derivatives, flat, hutchinson, lanczos
from mechgrok.analyses.measures.evaluation import Evaluator
from mechgrok.analyses.measures.finite import last_finite_step, select_finite_steps
from mechgrok.analyses.measures.formats import format_course, format_number, with_skipped_note
from mechgrok.analyses.measures.slices import (
    Above,
    barrier,
    between,
    filter_normalized,
    random_direction,
)
from mechgrok.analyses.measures.spacing import Checkpoints, log_spaced, thin
from mechgrok.denormals import flushed_denormals
from mechgrok.errors import UserError
from mechgrok.models import raw_weights
from mechgrok.results.variables import Scalar, Variable, described
from mechgrok.runs import Run

Weights = Mapping[str, Float[Tensor, "..."]]
SIDES = ("train", "test")
#: Number of largest eigenvalues.
_LARGEST = 5


VARIABLES = {
    "eigenvalue": Variable(
        "step, nth",
        "{units of the loss}",
        "the largest eigenvalues of ∂²L/∂θ²; NaN if Lanczos finds fewer",
    ),
    "residual": Variable("step", "{units of the loss}", "error bound of the first eigenvalue"),
    "lowest": Variable(
        "step", "{units of the loss}", "the most negative eigenvalue, or the smallest"
    ),
    "trace": Variable("step", "{units of the loss}", "Σ of all eigenvalues of ∂²L/∂θ²"),
    "trace_error": Variable("step", "{units of the loss}", "standard error of the trace"),
    "sharpness": Variable(
        "step", "{units of the loss}", "L(θ + ε) − L(θ), ε the step uphill within the radius ρ"
    ),
    "line": Variable(
        "step, side, position", "{units of the loss}", "the loss at (1 − α) θ_t + α θ_end"
    ),
    "line_accuracy": Variable(
        "step, side, position",
        "share",
        "right answers at (1 − α) θ_t + α θ_end; NaN in regressions",
    ),
    "barrier": Variable(
        "step, side", "{units of the loss}", "largest rise of the loss on the line above its {ends}"
    ),
    "error_barrier": Variable(
        "step, side",
        "share",
        "largest rise of the share of wrong answers on the line above its {ends}",
    ),
    "plane": Variable(
        "plane_step, up, across, side",
        "{units of the loss}",
        "the loss at θ + across · d₁ + up · d₂, for random d₁ and d₂ inside the mask with the "
        "norm of θ filter by filter",
    ),
    "nth": Variable("nth", "none", "1 for the largest eigenvalue"),
    "position": Variable("position", "share", "α: 0 at the checkpoint, 1 at the end of the line"),
    "plane_step": Variable("plane_step", "step", "checkpoints with a plane"),
    "up": Variable("up", "1", "coefficient of d₂"),
    "across": Variable("across", "1", "coefficient of d₁"),
}
#: Summaries of variables with further dimensions, one number per step.
SCALARS = {
    "largest_eigenvalue": Scalar("eigenvalue", {"nth": 1}),
}


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    checkpoints: Checkpoints = 16,
    side: Annotated[Literal["train", "test"], "side of the differentiated loss"] = "train",
    iterations: Annotated[int, "of Lanczos, with a Hessian-vector product each"] = 24,
    probes: Annotated[int, "random vectors for the trace, with a Hessian-vector product each"] = 8,
    sharpness: Annotated[
        Literal["sam", "asam"], "radius in the weights, or relative to each weight"
    ] = "sam",
    radius: Annotated[float, "ρ of the sharpness"] = 0.05,
    to: Annotated[
        Path | None, "run at the end of lines, its last checkpoint; default: this run"
    ] = None,
    positions: Annotated[int, "points on each line"] = 11,
    above: Annotated[
        Literal["interpolation", "mean"], "barrier above the ends' interpolation, or their mean"
    ] = "interpolation",
    planes: Annotated[int, "number of checkpoints with a random plane; 0 for none"] = 3,
    resolution: Annotated[int, "points along each side of a plane"] = 17,
    examples: Annotated[int, "most examples per side on lines and planes"] = 2048,
    seed: Annotated[int, "of all random vectors"] = 0,
) -> xr.Dataset:
    """Measure the loss around evenly chosen checkpoints, or around the given steps.

    Returns:
        `VARIABLES`.

    Raises:
        UserError: a number is out of its range, or the other run has other weights.
    """
    check_at_least(1, checkpoints=checkpoints, iterations=iterations, probes=probes)
    check_at_least(1, examples=examples)
    check_at_least(0, planes=planes)
    check_at_least(2, resolution=resolution)
    check_at_least(3, positions=positions)
    check_positive(radius=radius)
    at, of_steps = select_finite_steps(run, steps, partial(log_spaced, count=checkpoints))
    generator = torch.Generator().manual_seed(seed)
    effort: dict[str, Any] = {"iterations": iterations, "probes": probes}
    effort |= {"radius": radius, "adaptive": sharpness == "asam"}
    rows = [_curvature(run, side, step, generator, effort) for step in at]
    evaluator = Evaluator(run, SIDES, examples)
    end, name = _end(run, to)
    places = np.linspace(-1, 1, resolution)
    # From the last backwards: a single plane goes around the last checkpoint.
    around = sorted(thin(at[::-1], planes)) if planes else []
    return described(
        VARIABLES,
        {
            **{name: np.stack([row[name] for row in rows]) for name in rows[0]},
            **_lines(evaluator, at, end, positions, above),
            "plane": _planes(evaluator, around, places, seed),
        },
        coords={
            "step": at,
            "nth": np.arange(1, _LARGEST + 1),
            "position": np.linspace(0, 1, positions),
            "side": list(SIDES),
            "plane_step": np.array(around, dtype=int),
            "up": places,
            "across": places,
        },
        attrs={
            "differentiated": side,
            "sharpness_kind": sharpness,
            "radius": radius,
            "line_to": name,
            **of_steps,
        },
        words={
            "units of the loss": run.task.loss_units,
            "ends": "ends' interpolation" if above == "interpolation" else "ends' mean",
        },
    )


@flushed_denormals()
def _curvature(
    run: Run, side: str, step: int, generator: torch.Generator, effort: Mapping[str, Any]
) -> dict[str, Any]:
    """The eigenvalues, the trace and the sharpness at one checkpoint, as in `VARIABLES`."""
    model, task = run.model(step), run.task
    named, mask = raw_weights(model), run.mask_at(step)
    weights = list(named.values())
    inputs, labels = getattr(task, side)
    inputs = model.encode(inputs)
    gradient, hessian = derivatives(task.loss(model(inputs), labels), weights)
    start = flat(list(random_direction(named, mask, generator).values())).detach()
    values, residuals = lanczos(hessian, start, effort["iterations"])
    trace, error = hutchinson(hessian, gradient, effort["probes"], generator)
    largest = np.full(_LARGEST, np.nan)
    largest[: len(values)] = values[:_LARGEST]
    uphill = ascent(gradient, flat(weights).detach(), effort["radius"], effort["adaptive"])
    with torch.no_grad():
        before = float(task.loss(model(inputs), labels))
        for weight, change in zip(weights, uphill.split([w.numel() for w in weights]), strict=True):
            weight.add_(change.view_as(weight))
        rise = float(task.loss(model(inputs), labels)) - before
    return {
        "eigenvalue": largest,
        "residual": float(residuals[0]),
        "lowest": float(values[-1]),
        "trace": trace,
        "trace_error": error,
        "sharpness": rise,
    }


def _used(run: Run, step: int) -> Weights:
    """The effective (masked) weights at a step."""
    return run.checkpoint(step).effective_weights


def _end(run: Run, to: Path | None) -> tuple[Weights, str]:
    """The weights at the end of the lines, and their name."""
    other = run if to is None else Run(to)
    last = last_finite_step(other)
    weights, own = _used(other, last), run.wiring.weights
    for name, shape in own.items():
        if name not in weights or tuple(weights[name].shape) != tuple(shape):
            raise UserError(
                f"{other.path} has no weight {name} of shape {tuple(shape)}, unlike {run.path}: "
                "give a run of the same model."
            )
    return weights, f"step {last:,}" if to is None else f"{other.name} at step {last:,}"


def _lines(
    evaluator: Evaluator, steps: Sequence[int], end: Weights, positions: int, above: Above
) -> dict[str, Float[np.ndarray, "step side *position"]]:
    """Losses, accuracies and barriers on the lines from each checkpoint, as in `VARIABLES`."""
    shares = np.linspace(0, 1, positions).tolist()
    values = np.empty((2, len(steps), len(SIDES), positions))
    for row, step in enumerate(steps):
        start = _used(evaluator.run, step)
        for place, share in enumerate(shares):
            values[:, row, :, place] = evaluator(between(start, end, share))
    loss, accuracy = values
    return {
        "line": loss,
        "line_accuracy": accuracy,
        "barrier": barrier(loss, above),
        "error_barrier": barrier(1 - accuracy, above),
    }


def _planes(
    evaluator: Evaluator, steps: Sequence[int], places: Float[np.ndarray, " place"], seed: int
) -> Float[np.ndarray, "step up across side"]:
    """Losses on a random plane through each checkpoint, all with the same random numbers."""
    run, losses = evaluator.run, np.empty((len(steps), len(places), len(places), len(SIDES)))
    for at, step in enumerate(steps):
        weights, mask = _used(run, step), run.mask_at(step)
        generator = torch.Generator().manual_seed(seed)
        right, up = (filter_normalized(weights, run.wiring, generator, mask) for _ in range(2))
        for row, y in enumerate(places.tolist()):
            for column, x in enumerate(places.tolist()):
                moved = {n: w + x * right[n] + y * up[n] for n, w in weights.items()}
                losses[at, row, column] = evaluator(moved)[0]
    return losses


def finding(dataset: xr.Dataset) -> str:
    """The curvature and sharpness of the loss, and the barriers."""
    first = dataset.isel(step=0)
    barriers = " and ".join(
        f"{format_number(first.barrier.sel(side=side), '.2g')} ({side})" for side in SIDES
    )
    text = (
        f"largest Hessian eigenvalue of the {dataset.attrs['differentiated']} loss "
        f"{format_course(dataset.eigenvalue.sel(nth=1))}, sharpness "
        f"{format_course(dataset.sharpness)}; barrier from step {int(first.step):,} to "
        f"{dataset.attrs['line_to']} {barriers}"
    )
    return with_skipped_note(text, dataset)


# --- figure -------------------------------------------------------------------------------------


def draw(measured: Measured, *, log: LogAxis = True) -> go.Figure:
    """Curvature over training, lines and their barriers, and planes around some checkpoints."""
    first = next(iter(measured.values()))
    figure = Panels(
        measured,
        title="Curvature of the loss, and the loss around checkpoints",
        subtitle=f"derivatives of the {first.attrs['differentiated']} loss; lines go to "
        f"{first.attrs['line_to']}; solid: training set, dashed: test set",
        log=log,
    )
    _draw_curvature(figure, first)
    _draw_lines(figure)
    _draw_planes(figure)
    return figure.draw()


_DASH = {"train": "solid", "test": "dash"}
_LOG: dict[str, Any] = {"type": "log"}


def _draw_curvature(figure: Panels, first: xr.Dataset) -> None:
    row = figure.row(height=240, legend=True)
    panel = row.over_training("Hessian eigenvalues", y=_LOG | {"title": "nats"})
    for nth in first.nth.to_numpy().tolist():
        rest: dict[str, Any] = {"key": "next four", "opacity": 0.5, "width": 0.8}
        style: dict[str, Any] = {"key": "largest"} if nth == 1 else rest
        panel.curves(partial(_positive, name="eigenvalue", nth=nth), value="%{y:.3g}", **style)
    lowest = partial(_positive, name="lowest", sign=-1)
    panel.curves(lowest, value="%{y:.3g}", dash="dot", key="most negative, −λ")
    sharpness = (
        f"sharpness ({first.attrs['sharpness_kind'].upper()}, ρ = {first.attrs['radius']:g})"
    )
    for name, title in (("trace", "trace of the Hessian"), ("sharpness", sharpness)):
        panel = row.over_training(title, y=_LOG)
        panel.curves(partial(_positive, name=name), value="%{y:.3g}")


def _positive(dataset: xr.Dataset, name: str, sign: int = 1, **where: Any) -> xr.DataArray:
    """A variable, or its negative, with gaps where it is not positive."""
    curve = sign * dataset[name].sel(where)
    return curve.where(curve > 0)


def _draw_lines(figure: Panels) -> None:
    row = figure.row(height=220)
    panel = row.panel("on the line from the first checkpoint", x="α", y=_LOG | {"title": "loss"})
    for side, dash in _DASH.items():
        hover = "α = %{x}<br>" + f"{side} loss " + "%{y:.3g}"
        line = lambda ds, side=side: _positive(ds.isel(step=0), "line", side=side)  # noqa: E731
        panel.curves(line, dash=dash, value=hover)
    for name, title, axis in (
        ("barrier", "barrier of the loss", {"rangemode": "tozero"}),
        ("error_barrier", "barrier of the share of wrong answers", {"tickformat": ".0%"}),
    ):
        panel = row.over_training(title, y=axis)
        for side, dash in _DASH.items():
            panel.curves(name, where={"side": side}, dash=dash)


def _draw_planes(figure: Panels) -> None:
    """Draw each run's planes side by side, on one colour scale."""
    runs = figure.pictured
    losses = np.concatenate([ds.plane.to_numpy().ravel() for ds in runs.values()])
    losses = losses[np.isfinite(losses) & (losses > 0)]
    if not losses.size:
        return
    low, high = (float(np.log10(end)) for end in (losses.min(), losses.max()))
    powers = range(math.ceil(low), math.floor(high) + 1, 1 + int(high - low) // 8)
    names = [f"10<sup>{power}</sup>" for power in powers]
    colors = figure.colors("loss", low, high, tickvals=list(powers), ticktext=names)
    most = max(dataset.sizes["plane_step"] for dataset in runs.values())
    for label, dataset in runs.items():
        row = figure.row(height=210)
        for at, step in enumerate(dataset.plane_step.to_numpy().tolist()):
            prefix = f"{label}, " if len(runs) > 1 else "around "
            y = {"title": "d₂" if at == 0 else ""}
            panel = row.panel(f"{prefix}step {step:,}", x="d₁", y=y, square=True)
            _draw_plane(panel, colors, label, dataset.plane.isel(plane_step=at))
        row.fill(most)


def _draw_plane(panel: Panel, colors: Colors, label: str, plane: xr.DataArray) -> None:
    """Draw the losses on one plane, for the side chosen in the menu."""

    def shown(side: str) -> dict[str, Any]:
        loss = plane.sel(side=side).to_numpy()
        with np.errstate(divide="ignore"):
            return {"z": np.log10(loss).astype(np.float32), "customdata": loss}

    panel.heat(
        colors,
        run=label,
        x=plane.across.to_numpy(),
        y=plane.up.to_numpy(),
        zsmooth="best",
        hoverongaps=False,
        hover="d₁ %{x:.2f}, d₂ %{y:.2f}<br>loss %{customdata:.3g}",
        choices={f"{side} loss": shown(side) for side in SIDES},
    )
