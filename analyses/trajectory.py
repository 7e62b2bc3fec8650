"""How do the weights move, and how fast? Path in principal components, speed, distances, ranks.

A checkpoint is a point in the space of all weights (θ ⊙ m). The figure shows the path in the plane
of largest variance; speed is ‖θ_t' − θ_t‖ / (t' − t) between neighbouring checkpoints; the
effective rank of a matrix is exp(−Σ q_i log q_i), q_i = σ_i / Σ σ (Roy and Vetterli 2007). The
principal components of any long smooth path, even of a random walk, look like cosines (Antognini
and Sohl-Dickstein 2018, arXiv 1806.08805), so interpret turns together with speed and distance.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from mechgrok.analyses.drawing import (
    Colors,
    LogAxis,
    Measured,
    Panels,
    Row,
    StepAxis,
    draw_weights,
)
from mechgrok.analyses.measures.finite import select_finite_steps
from mechgrok.analyses.measures.formats import format_change, format_percent, with_skipped_note
from mechgrok.analyses.measures.geometry import effective_rank, principal_components
from mechgrok.analyses.measures.spacing import thin
from mechgrok.errors import UserError
from mechgrok.models.wiring import short_names
from mechgrok.results.variables import Variable, described
from mechgrok.runs import Run

#: Effective ranks need a decomposition per step: larger matrices are measured at fewer steps.
_LARGE_SIDE, _STEPS_IF_LARGE = 256, 40


VARIABLES = {
    "position": Variable(
        "step, component",
        "L2 norm of all weights",
        "coordinates in the path's principal components, from its mean",
    ),
    "explained": Variable(
        "component",
        "share of variance",
        "share of the variance over checkpoints along the component",
    ),
    "speed": Variable(
        "step", "L2 norm per training step", "‖θ_t' − θ_t‖ / (t' − t), t' the next checkpoint"
    ),
    "from_start": Variable("step", "L2 norm of all weights", "distance to the first checkpoint"),
    "to_end": Variable("step", "L2 norm of all weights", "distance to the last checkpoint"),
    "effective_rank": Variable(
        "rank_step, weight",
        "dimensions",
        "exp(−Σ q ln q), q = σ / Σ σ, σ the matrix's singular values, heads side by side",
    ),
    "full_rank": Variable("weight", "dimensions", "largest possible effective rank"),
    "component": Variable("component", "none", "a principal component's number"),
    "rank_step": Variable(
        "rank_step",
        "step",
        "all steps, or 40 of them if a matrix has more than 256 rows and columns",
    ),
}
#: The variables over steps that use later checkpoints.
USES_LATER_STEPS = ("speed", "to_end")


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    components: Annotated[int, "principal components to keep"] = 3,
) -> xr.Dataset:
    """Measure the path through every checkpoint, or through the given steps.

    Returns:
        `VARIABLES`.

    Raises:
        UserError: ``components`` is below 2.
    """
    if components < 2:
        raise UserError(
            f"components = {components} is too few for the plane of a path: choose 2 or more."
        )
    steps, of_steps = select_finite_steps(run, steps)
    gram = torch.zeros(len(steps), len(steps), dtype=torch.float64)
    squares = np.zeros((3, len(steps)))
    matrices = {}
    for name in run.weight_names:
        stack = run.weights(name, steps)
        flat = stack.flatten(1)
        squares += _square_distances(flat)
        centred = flat - flat.mean(0)
        gram += (centred @ centred.T).double()
        if name in run.wiring.connections:
            matrices[name] = tuple(run.wiring.matrix(name, stack[0]).shape)
    position, explained = principal_components(gram, components)
    to_next, from_start, to_end = np.sqrt(squares)
    gaps = np.diff(steps, append=np.nan)
    rank_steps = _rank_steps(steps, matrices.values())
    ranks = [
        effective_rank(run.wiring.matrix(name, run.weights(name, rank_steps))) for name in matrices
    ]
    return described(
        VARIABLES,
        {
            "position": position,
            "explained": explained,
            "speed": to_next / gaps,
            "from_start": from_start,
            "to_end": to_end,
            "effective_rank": torch.stack(ranks, 1).numpy(),
            "full_rank": [min(shape) for shape in matrices.values()],
        },
        coords={
            "step": steps,
            "rank_step": rank_steps,
            "component": np.arange(1, position.shape[1] + 1),
            "weight": list(matrices),
        },
        attrs=of_steps,
    )


def _rank_steps(steps: Sequence[int], shapes: Iterable[tuple[int, ...]]) -> list[int]:
    is_large = any(min(shape) > _LARGE_SIDE for shape in shapes)
    return thin(steps, _STEPS_IF_LARGE if is_large else len(steps))


def _square_distances(flat: Float[Tensor, "step entry"]) -> Float[np.ndarray, "3 step"]:
    """Squared distances to the next checkpoint (0 at the last), to the first, and to the last."""
    next_ = torch.cat([(flat[1:] - flat[:-1]).square().sum(1), flat.new_zeros(1)])
    others = [(flat - flat[end]).square().sum(1) for end in (0, -1)]
    return torch.stack([next_, *others]).double().numpy()


def finding(dataset: xr.Dataset) -> str:
    """The variance in two components, the length of the path, and the change of ranks."""
    names = short_names([str(name) for name in dataset.weight.to_numpy()])
    ranks = ", ".join(
        f"{short} {format_change(dataset.effective_rank.sel(weight=name), '.0f')}"
        for name, short in names.items()
    )
    text = (
        f"two components hold {format_percent(dataset.explained[:2].sum())} of the path's "
        f"variance; it ends {float(dataset.from_start[-1]):,.3g} from where it started; effective "
        f"rank {ranks}"
    )
    return with_skipped_note(text, dataset)


def draw(measured: Measured, *, log: LogAxis = True) -> go.Figure:
    """The path of each run, and speed, distances and effective ranks over training."""
    figure = Panels(
        measured,
        title="The path of the weights over training, and the rank of their matrices",
        subtitle="paths: ring t_mem, star t_gen; curves: dotted line t_mem, dashed line t_gen",
        log=log,
    )
    moving = {label: ds for label, ds in measured.items() if ds.sizes["step"] > 1}
    if moving:
        _draw_paths(figure, moving, log)
    draw_weights(figure, lambda ds: [(ds.effective_rank, {})], title="effective rank", **_RANK)
    return figure.draw()


def _draw_paths(figure: Panels, moving: Mapping[str, xr.Dataset], log: bool) -> None:
    """Draw the paths of runs with several checkpoints side by side, and their speeds."""
    steps = StepAxis(np.concatenate([ds.step.to_numpy() for ds in moving.values()]), log)
    colors = figure.colors("training step", *steps.range, **steps.bar())
    row = figure.row(height=380)
    for label, dataset in moving.items():
        _draw_path(row, dataset, label, colors, steps)
    row = figure.row(height=200)
    for name, (title, axis) in _CURVES.items():
        row.over_training(title, y=axis).curves(name)


#: The axis of effective ranks.
_RANK: dict[str, Any] = {"rangemode": "tozero", "nticks": 5}
#: Curves over training: title and axis.
_CURVES: dict[str, tuple[str, dict[str, Any]]] = {
    "speed": ("speed", {"title": "L2 norm per step", "type": "log"}),
    "from_start": ("distance from the start", {"title": "L2 norm", "rangemode": "tozero"}),
    "to_end": ("distance to the end", {"rangemode": "tozero"}),
}


def _draw_path(row: Row, dataset: xr.Dataset, label: str, colors: Colors, steps: StepAxis) -> None:
    """Draw two components against each other, coloured by step, with milestones marked."""
    shares = dataset.explained.to_numpy()
    panel = row.panel(
        f"{label}: the path, from dark to bright",
        x=f"PC1 ({shares[0]:.0%} of variance)",
        y=f"PC2 ({shares[1]:.0%})",
    )
    x, y = (dataset.position.sel(component=c).to_numpy() for c in (1, 2))
    panel.add(
        "scatter",
        run=label,
        hover="step %{customdata:,}<br>PC1 %{x:.3g}<br>PC2 %{y:.3g}",
        colors=colors,
        x=x,
        y=y,
        mode="lines+markers",
        line={"color": "#CCCCCC", "width": 1},
        marker={"color": steps.shade(dataset.step), "size": 6},
        customdata=dataset.step,
    )
    marks = {"start": ("square", int(dataset.step[0])), "end": ("diamond", int(dataset.step[-1]))}
    for name, symbol in (("t_mem", "circle-open"), ("t_gen", "star")):
        if name in dataset.attrs:
            marks[name] = (symbol, int(dataset.attrs[name]))
    color = row.figure.color_of(label)
    for name, (symbol, step) in marks.items():
        at = dataset.position.sel(step=step, method="nearest")
        panel.add(
            "scatter",
            run=label,
            hover=f"{name}: step {step:,}",
            x=[float(at[0])],
            y=[float(at[1])],
            mode="markers+text",
            text=[name],
            textposition="top center",
            marker={"symbol": symbol, "size": 13, "color": color, "line": {"width": 2}},
        )
