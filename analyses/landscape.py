"""How curved is the loss, and what lies between two networks? Hessian, sharpness, lines and planes.

Of the loss at each checkpoint: the largest eigenvalues of its Hessian and the most negative one
(Lanczos), the trace (Hutchinson), and how far the loss rises within a small radius (sharpness; SAM:
Foret et al. 2021, arXiv 2010.01412). Of the space around: the loss on the straight line to the last
checkpoint, or to another run's, with its barrier (linear mode connectivity: Frankle et al. 2020,
arXiv 1912.05671), and on a random plane through the network whose directions are normalized filter
by filter (Li et al. 2018, arXiv 1712.09913). Losses are those of the task alone, without penalty
and weight decay.

It costs some forty gradients a checkpoint, so that it is asked of 16 of them, evenly spaced by log
step, unless more are asked for.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from mechgrok.analyses.drawing import Colors, Panel, Panels, representatives
from mechgrok.analyses.measures.curvature import ascent, derivatives, flat, hutchinson, lanczos
from mechgrok.analyses.measures.finite import and_left_out, last_finite_step, looked_at
from mechgrok.analyses.measures.judging import Judge
from mechgrok.analyses.measures.places import spread
from mechgrok.analyses.measures.slices import (
    Above,
    barrier,
    between,
    filter_normalized,
    random_direction,
)
from mechgrok.analyses.measures.spacing import log_spaced, some_of
from mechgrok.denormals import flushed_denormals
from mechgrok.errors import UserError
from mechgrok.models import raw_weights
from mechgrok.results.variables import Variable, described
from mechgrok.runs import Run

Weights = Mapping[str, Tensor]
SIDES = ("train", "test")
#: Eigenvalues that are kept of each end's many.
_LARGEST = 5


VARIABLES = {
    "eigenvalue": Variable(
        "step, nth",
        "{units of the loss}",
        "the largest eigenvalues of ∂²L/∂θ²; NaN where fewer were found",
    ),
    "residual": Variable("step", "{units of the loss}", "how far the first eigenvalue may be off"),
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
        "step, side",
        "{units of the loss}",
        "how far the loss on the line rises above its {ends}, at most",
    ),
    "error_barrier": Variable(
        "step, side",
        "share",
        "how far the share of wrong answers on the line rises above its {ends}, at most",
    ),
    "plane": Variable(
        "plane_step, up, across, side",
        "{units of the loss}",
        "the loss at θ + across · d₁ + up · d₂; d₁ and d₂ are random, inside the mask, with "
        "θ's norm filter by filter",
    ),
    "nth": Variable("nth", "none", "1 for the largest eigenvalue"),
    "position": Variable("position", "share", "α: 0 at the checkpoint, 1 at the end of the line"),
    "plane_step": Variable("plane_step", "step", "checkpoints that have a plane"),
    "up": Variable("up", "1", "how much of d₂"),
    "across": Variable("across", "1", "how much of d₁"),
}


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    checkpoints: Annotated[int, "how many to look at, evenly by log step; --steps names them"] = 16,
    side: Annotated[Literal["train", "test"], "whose loss is differentiated"] = "train",
    iterations: Annotated[int, "of Lanczos, a Hessian-vector product each"] = 24,
    probes: Annotated[int, "random vectors for the trace, a Hessian-vector product each"] = 8,
    sharpness: Annotated[
        Literal["sam", "asam"], "radius in the weights, or relative to each weight"
    ] = "sam",
    radius: Annotated[float, "ρ of the sharpness"] = 0.05,
    to: Annotated[Path | None, "the run whose last checkpoint lines go to; this one's own"] = None,
    positions: Annotated[int, "places on each line"] = 11,
    above: Annotated[
        Literal["interpolation", "mean"], "barrier above the ends' interpolation, or their mean"
    ] = "interpolation",
    planes: Annotated[int, "random planes, around as many of the checkpoints; 0 for none"] = 3,
    resolution: Annotated[int, "places along each side of a plane"] = 17,
    examples: Annotated[int, "of each side, on lines and planes, at most"] = 2048,
    seed: Annotated[int, "of all random vectors"] = 0,
) -> xr.Dataset:
    """The loss around some checkpoints, or around those at the given steps.

    Returns:
        `VARIABLES`.

    Raises:
        UserError: a number is out of its range, or the other run has other weights.
    """
    _check(
        radius,
        checkpoints=checkpoints,
        iterations=iterations,
        probes=probes,
        positions=positions,
        planes=planes,
        resolution=resolution,
        examples=examples,
    )
    at, of_steps = looked_at(run, steps, partial(log_spaced, count=checkpoints))
    generator = torch.Generator().manual_seed(seed)
    look = partial(_curvature, run, side, _Effort(iterations, probes), sharpness == "asam", radius)
    curvatures = [look(step, generator) for step in at]
    judge = Judge(run, SIDES, examples)
    end, name = _end(run, to)
    places = np.linspace(-1, 1, resolution)
    # Of the last first, so that a single plane is around the last.
    around = sorted(spread(at[::-1], planes)) if planes else []
    return described(
        VARIABLES,
        {
            "eigenvalue": [each.eigenvalue for each in curvatures],
            **{
                name: [getattr(each, name) for each in curvatures]
                for name in _Curvature._fields[1:]
            },
            **_lines(judge, at, end, positions, above),
            "plane": _planes(judge, around, places, seed),
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
            **run.milestones,
        },
        words={
            "units of the loss": run.task.loss_units,
            "ends": "ends' interpolation" if above == "interpolation" else "ends' mean",
        },
    )


#: The least that each number may be.
_LEAST = {
    "checkpoints": 1,
    "iterations": 1,
    "probes": 1,
    "positions": 3,
    "planes": 0,
    "resolution": 2,
    "examples": 1,
}


def _check(radius: float, **given: int) -> None:
    for name, number in given.items():
        if number < _LEAST[name]:
            raise UserError(f"{name} = {number} is too few: give {_LEAST[name]} or more.")
    if not 0 < radius < float("inf"):
        raise UserError(f"A radius of {radius:g} is no distance: give one above 0, like 0.05.")


class _Effort(NamedTuple):
    """Hessian-vector products for the eigenvalues, and for the trace."""

    iterations: int
    probes: int


class _Curvature(NamedTuple):
    """What the derivatives at one checkpoint say; the fields are `measure`'s variables."""

    eigenvalue: list[float]
    residual: float
    lowest: float
    trace: float
    trace_error: float
    sharpness: float


@flushed_denormals()
def _curvature(
    run: Run,
    side: str,
    effort: _Effort,
    adaptive: bool,
    radius: float,
    step: int,
    generator: torch.Generator,
) -> _Curvature:
    model, task = run.model(step), run.task
    named, mask = raw_weights(model), run.mask_at(step)
    weights = list(named.values())
    inputs, labels = getattr(task, side)
    inputs = model.encode(inputs)
    gradient, hessian = derivatives(task.loss(model(inputs), labels), weights)
    start = flat(list(random_direction(named, mask, generator).values())).detach()
    values, residuals = lanczos(hessian, start, effort.iterations)
    trace, error = hutchinson(hessian, gradient, effort.probes, generator)
    largest = np.full(_LARGEST, np.nan)
    largest[: len(values)] = values[:_LARGEST]
    uphill = ascent(gradient, flat(weights).detach(), radius, adaptive)
    with torch.no_grad():
        before = float(task.loss(model(inputs), labels))
        for weight, change in zip(weights, uphill.split([w.numel() for w in weights]), strict=True):
            weight.add_(change.view_as(weight))
        rise = float(task.loss(model(inputs), labels)) - before
    return _Curvature(largest.tolist(), float(residuals[0]), float(values[-1]), trace, error, rise)


def _used(run: Run, step: int) -> Weights:
    """The weights that the network computes with at a step: masked."""
    return run.checkpoint(step).effective_weights


def _end(run: Run, to: Path | None) -> tuple[Weights, str]:
    """The weights that lines go to, and what they are called."""
    other = run if to is None else Run(to)
    last = last_finite_step(other)
    weights, own = _used(other, last), run.wiring.weights
    for name, shape in own.items():
        if name not in weights or tuple(weights[name].shape) != tuple(shape):
            raise UserError(
                f"{other.path} has no weight {name} of shape {tuple(shape)}, so that there is no "
                f"line from {run.path} to it: name a run of the same model."
            )
    return weights, f"step {last:,}" if to is None else f"{other.name} at step {last:,}"


def _lines(
    judge: Judge, steps: Sequence[int], end: Weights, positions: int, above: Above
) -> dict[str, np.ndarray]:
    """Losses, accuracies and barriers on the lines from each checkpoint, as `VARIABLES` says."""
    shares = np.linspace(0, 1, positions).tolist()
    found = np.empty((2, len(steps), len(SIDES), positions))
    for row, step in enumerate(steps):
        start = _used(judge.run, step)
        for place, share in enumerate(shares):
            found[:, row, :, place] = judge(between(start, end, share))
    loss, accuracy = found
    return {
        "line": loss,
        "line_accuracy": accuracy,
        "barrier": barrier(loss, above),
        "error_barrier": barrier(1 - accuracy, above),
    }


def _planes(
    judge: Judge, steps: Sequence[int], places: Float[np.ndarray, " place"], seed: int
) -> Float[np.ndarray, "step up across side"]:
    """Losses on a random plane through each checkpoint; the same random numbers for all."""
    losses = np.empty((len(steps), len(places), len(places), len(SIDES)))
    for at, step in enumerate(steps):
        weights = _used(judge.run, step)
        generator = torch.Generator().manual_seed(seed)
        mask, wiring = judge.run.mask_at(step), judge.run.wiring
        right, up = (filter_normalized(weights, wiring, generator, mask) for _ in range(2))
        for row, y in enumerate(places.tolist()):
            for column, x in enumerate(places.tolist()):
                moved = {n: w + x * right[n] + y * up[n] for n, w in weights.items()}
                losses[at, row, column] = judge(moved)[0]
    return losses


def finding(dataset: xr.Dataset) -> str:
    """Where the loss is most curved and where sharpest, and how high the barriers are."""
    side = dataset.attrs["differentiated"]
    largest = dataset.eigenvalue.sel(nth=1)
    words = f"largest Hessian eigenvalue of the {side} loss {_course(largest)}"
    words += f"; its trace {_course(dataset.trace)}; sharpness {_course(dataset.sharpness)}"
    barriers = dataset.barrier.isel(step=0)
    told = [
        f"{float(barriers.sel(side=s)):.3g} ({s})"
        for s in SIDES
        if np.isfinite(barriers.sel(side=s))
    ]
    alone = (
        dataset.sizes["step"] == 1 and dataset.attrs["line_to"] == f"step {int(dataset.step[0]):,}"
    )
    if told and not alone:
        words += (
            f"; barrier from step {int(dataset.step[0]):,} to {dataset.attrs['line_to']}: "
            f"{' and '.join(told)}"
        )
    some = some_of(dataset.sizes["step"], dataset.attrs["of_checkpoints"])
    return and_left_out(words + some, dataset)


def _course(values: xr.DataArray) -> str:
    """The first value, the highest and the last."""
    known = values[np.isfinite(values.to_numpy())]
    if not known.size:
        return "is not a finite number"
    if known.size == 1:
        return f"{float(known[0]):.3g} at step {int(known.step[0]):,}"
    top = known[int(known.to_numpy().argmax())]
    return (
        f"{float(known[0]):.3g} at step {int(known.step[0]):,}, highest {float(top):.3g} at "
        f"{int(top.step):,}, {float(known[-1]):.3g} at {int(known.step[-1]):,}"
    )


# --- figure -------------------------------------------------------------------------------------


def draw(
    measured: Mapping[str, xr.Dataset],
    *,
    log: Annotated[bool, "logarithmic step axis"] = True,
) -> go.Figure:
    """Curvature over training; the lines and their barriers; planes around some checkpoints."""
    first = next(iter(measured.values()))
    figure = Panels(
        measured,
        title=_title(measured),
        subtitle=f"derivatives of the {first.attrs['differentiated']} loss; lines go to "
        f"{first.attrs['line_to']}; solid: training set, dashed: test set",
        log=log,
    )
    _draw_curvature(figure, measured)
    _draw_lines(figure, measured)
    _draw_planes(figure, representatives(measured))
    return figure.draw()


_DASH = {"train": "solid", "test": "dash"}
_LOG = {"type": "log"}


def _title(measured: Mapping[str, xr.Dataset]) -> str:
    """The highest barrier of the training loss between a checkpoint and the end, for each run."""
    told = []
    for label, dataset in measured.items():
        heights = dataset.barrier.sel(side="train").to_numpy()
        if not np.isfinite(heights).any():
            return "The curvature of the loss, and the loss around the checkpoints"
        told.append(f"{np.nanmax(heights):.2g}" + (f" ({label})" if len(measured) > 1 else ""))
    to = next(iter(measured.values())).attrs["line_to"]
    if all(float(ds.barrier.sel(side="train").max()) < 1e-3 for ds in measured.values()):
        return f"No barrier of the training loss lies on the way to {to}"
    return f"Barriers of the training loss, up to {', '.join(told)}, lie on the way to {to}"


def _draw_curvature(figure: Panels, measured: Mapping[str, xr.Dataset]) -> None:
    row = figure.row(height=240, legend=True)
    panel = row.over_training("Hessian eigenvalues", y=_LOG | {"title": "nats"})
    for label, dataset in measured.items():
        for nth in dataset.nth.to_numpy().tolist():
            curve = dataset.eigenvalue.sel(nth=nth)
            many = {"key": "largest"} if nth == 1 else {"key": "next four", "opacity": 0.5}
            _line_of(panel, label, curve, width=2 if nth == 1 else 0.8, **many)
        _line_of(panel, label, -dataset.lowest, dash="dot", key="most negative, −λ")
    panel = row.over_training("trace of the Hessian", y=_LOG)
    for label, dataset in measured.items():
        _line_of(panel, label, dataset.trace)
    first = next(iter(measured.values()))
    name = {"sam": "SAM", "asam": "ASAM"}[first.attrs["sharpness_kind"]]
    panel = row.over_training(f"sharpness ({name}, ρ = {first.attrs['radius']:g})", y=_LOG)
    for label, dataset in measured.items():
        _line_of(panel, label, dataset.sharpness)


def _line_of(panel: Panel, label: str, curve: xr.DataArray, **look: Any) -> None:
    """A curve on a logarithmic axis, with gaps where it is not positive."""
    positive = curve.where(curve > 0)
    panel.lines(curve.step, positive, run=label, value="%{y:.3g}", **look)


def _draw_lines(figure: Panels, measured: Mapping[str, xr.Dataset]) -> None:
    row = figure.row(height=220)
    panel = row.panel("on the line from the first checkpoint", x="α", y=_LOG | {"title": "loss"})
    for label, dataset in measured.items():
        for side, dash in _DASH.items():
            curve = dataset.line.sel(side=side).isel(step=0)
            curve = curve.where(curve > 0)
            hover = "α = %{x}<br>" + f"{side} loss " + "%{y:.3g}"
            panel.lines(curve.position, curve, run=label, dash=dash, value=hover)
    for name, title, look in (
        ("barrier", "barrier of the loss", {"rangemode": "tozero"}),
        ("error_barrier", "barrier of the share of wrong answers", {"tickformat": ".0%"}),
    ):
        panel = row.over_training(title, y=look)
        for label, dataset in measured.items():
            for side, dash in _DASH.items():
                panel.lines(dataset.step, dataset[name].sel(side=side), run=label, dash=dash)


def _draw_planes(figure: Panels, measured: Mapping[str, xr.Dataset]) -> None:
    """For each run its planes beside one another, on one scale of colours."""
    losses = np.concatenate([ds.plane.to_numpy().ravel() for ds in measured.values()])
    losses = losses[np.isfinite(losses) & (losses > 0)]
    if not losses.size:
        return
    low, high = (float(np.log10(end)) for end in (losses.min(), losses.max()))
    powers = range(math.ceil(low), math.floor(high) + 1, 1 + int(high - low) // 8)
    words = [f"10<sup>{power}</sup>" for power in powers]
    colors = figure.colors("loss", low, high, tickvals=list(powers), ticktext=words)
    most = max(dataset.sizes["plane_step"] for dataset in measured.values())
    for label, dataset in measured.items():
        row = figure.row(height=210)
        for at, step in enumerate(dataset.plane_step.to_numpy().tolist()):
            many = f"{label}, " if len(measured) > 1 else "around "
            panel = row.panel(
                f"{many}step {step:,}",
                x="d₁",
                y={"title": "d₂" if at == 0 else ""},
                square=True,
            )
            _draw_plane(panel, colors, label, dataset.plane.isel(plane_step=at))
        row.fill(most)


def _draw_plane(panel: Panel, colors: Colors, label: str, plane: xr.DataArray) -> None:
    """The losses on one plane, of the side that the menu says."""

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
