"""Does the order of two gradient steps matter? Their commutator, inside and outside of the path.

From a checkpoint θ, a gradient step on batch A and then one on batch B lead to θ_AB, in the other
order to θ_BA. The defect ‖θ_AB − θ_BA‖ / (‖η g_A‖ ‖η g_B‖) measures curvature: for a small learning
rate η it is ‖H_B g_A − H_A g_B‖ / (‖g_A‖ ‖g_B‖). It is said to rise before generalization, outside
of the plane in which the weights move (Xu 2026, arXiv 2602.16967 and 2602.16746).

By default, 60 checkpoints are measured, evenly spaced in the sequence, with nine pairs of batches.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from mechgrok.analyses.drawing import LogAxis, Measured, Panels
from mechgrok.analyses.measures.checks import check_at_least, check_positive
from mechgrok.analyses.measures.curvature import flat
from mechgrok.analyses.measures.finite import finite_steps, select_finite_steps
from mechgrok.analyses.measures.formats import format_course, format_number, with_skipped_note
from mechgrok.analyses.measures.spacing import thin
from mechgrok.denormals import flushed_denormals
from mechgrok.models import raw_weights
from mechgrok.results.variables import Variable, described
from mechgrok.runs import Run
from mechgrok.tasks import Examples

#: θ → the gradient of a batch's loss.
Gradient = Callable[[Float[Tensor, " n"]], Float[Tensor, " n"]]

#: The most checkpoints that define the plane, and the largest batch.
_PLANE_STEPS, _LARGEST_BATCH = 60, 512
#: The learning rate for a network without training settings.
_USUAL_RATE = 1e-3

VARIABLES = {
    "defect": Variable("step", "1/weight", "median over pairs of defect_of"),
    "defect_of": Variable(
        "step, pair", "1/weight", "‖θ_AB − θ_BA‖ / (‖η g_A‖ ‖η g_B‖), η = {rate}"
    ),
    "inside": Variable(
        "step",
        "share",
        "share of ‖θ_AB − θ_BA‖² in the plane of the path's first two principal components, mean "
        "over pairs; the rest is outside; {chance} for a random direction",
    ),
    "gradient_norm": Variable(
        "step", "{units of the loss} per weight", "‖g‖ of a batch, mean over batches"
    ),
    "pair": Variable("pair", "none", "a pair of batches"),
}
#: The variables over steps that use labels of the test set.
USES_TEST_LABELS: tuple[str, ...] = ()
#: The variables over steps that use later checkpoints.
USES_LATER_STEPS = ("inside",)


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    checkpoints: Annotated[
        int, "number of checkpoints, evenly by position; --steps overrides"
    ] = 60,
    pairs: Annotated[int, "pairs of random batches, the same at every checkpoint"] = 9,
    batch_size: Annotated[
        int | None, "examples of a batch; default: half of the training set, at most 512"
    ] = None,
    learning_rate: Annotated[float | None, "η; default: the run's"] = None,
    seed: Annotated[int, "of the batches"] = 0,
) -> xr.Dataset:
    """Measure commutators of plain gradient steps on the training set, in float64.

    The loss is the task's, without penalty and weight decay.

    Returns:
        `VARIABLES`, NaN where a gradient is 0. The attribute ``chance`` is the share of a random
        direction in the plane.

    Raises:
        UserError: a number is out of its range.
    """
    check_at_least(1, checkpoints=checkpoints, pairs=pairs, batch_size=batch_size)
    check_positive(learning_rate=learning_rate)
    at, of_steps = select_finite_steps(run, steps, partial(thin, count=checkpoints))
    training = run.config.training
    rate = learning_rate or (training.learning_rate if training else _USUAL_RATE)
    plane = _plane(run)
    batches = _batches(run, pairs, batch_size, seed)
    rows = np.array([_measure(run, step, batches, rate, plane) for step in at])
    chance = len(plane) / run.n_parameters
    return described(
        VARIABLES,
        {
            "defect": np.median(rows[:, :, 0], 1),
            "defect_of": rows[:, :, 0],
            "inside": rows[:, :, 1].mean(1),
            "gradient_norm": rows[:, :, 2].mean(1),
        },
        coords={"step": at, "pair": np.arange(pairs)},
        attrs={
            "learning_rate": rate,
            "batch_size": len(batches[0][0].labels),
            "chance": chance,
            **of_steps,
            **run.milestones,
        },
        words={
            "rate": f"{rate:g}",
            "chance": f"{chance:.1g}",
            "units of the loss": run.task.loss_units,
        },
    )


def _plane(run: Run) -> Float[Tensor, "component n"]:
    """The first two principal components of the path; fewer if it is a line or a point."""
    steps = thin(finite_steps(run, run.steps), _PLANE_STEPS)
    path = torch.cat([run.weights(name, steps).flatten(1) for name in run.weight_names], 1).double()
    _, sizes, components = torch.linalg.svd(path - path.mean(0), full_matrices=False)
    return components[:2][sizes[:2] > 1e-9 * path.norm()]


def _batches(
    run: Run, pairs: int, batch_size: int | None, seed: int
) -> list[tuple[Examples, Examples]]:
    """Pairs of batches, each drawn without replacement."""
    inputs, labels = run.task.train
    n = len(labels)
    size = min(batch_size or min(-(-n // 2), _LARGEST_BATCH), n)
    generator = torch.Generator().manual_seed(seed)

    def batch() -> Examples:
        rows = torch.randperm(n, generator=generator)[:size]
        return Examples(inputs[rows], labels[rows])

    return [(batch(), batch()) for _ in range(pairs)]


@flushed_denormals()
def _measure(
    run: Run,
    step: int,
    batches: Sequence[tuple[Examples, Examples]],
    rate: float,
    plane: Float[Tensor, "component n"],
) -> list[tuple[float, float, float]]:
    """The defect, its share inside the plane, and the gradients' mean norm, of each pair."""
    model = run.model(step).double()
    weights = list(raw_weights(model).values())
    start = parameters_to_vector(weights).detach().clone()

    def gradient_of(batch: Examples) -> Gradient:
        inputs = batch.inputs.double() if batch.inputs.is_floating_point() else batch.inputs
        encoded = model.encode(inputs)

        def gradient(at: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
            vector_to_parameters(at, weights)
            loss = run.task.loss(model(encoded), batch.labels)
            slopes = torch.autograd.grad(loss, weights, allow_unused=True)
            pairs = zip(slopes, weights, strict=True)
            return flat([torch.zeros_like(w) if slope is None else slope for slope, w in pairs])

        return gradient

    rows = []
    for a, b in batches:
        difference, norms = commutator(gradient_of(a), gradient_of(b), start, rate)
        size = float(difference.norm())
        defect = size / (rate**2 * norms[0] * norms[1]) if min(norms) > 0 else float("nan")
        inside = float((plane @ difference).norm()) ** 2 / size**2 if size else float("nan")
        rows.append((defect, inside if len(plane) else float("nan"), sum(norms) / 2))
    return rows


def commutator(
    a: Gradient, b: Gradient, weights: Float[Tensor, " n"], rate: float
) -> tuple[Float[Tensor, " n"], tuple[float, float]]:
    """θ_AB − θ_BA for gradient steps on two losses, and ‖g_A‖ and ‖g_B‖ at θ.

    The difference is η ((g_B(θ) − g_B(θ − η g_A)) − (g_A(θ) − g_A(θ − η g_B))), in which θ has
    cancelled.

    Args:
        a: the gradient of the first loss.
        b: the gradient of the second.
        weights: θ.
        rate: η.

    Source: Xu 2026 (arXiv 2602.16967).

    >>> x, y = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> def a(w): return w * x  # of the loss w_x² / 2
    >>> def b(w): return (w @ (x + y)) * (x + y)  # of (w_x + w_y)² / 2
    >>> difference, norms = commutator(a, b, torch.tensor([1.0, 0.0]), 0.5)
    >>> difference.tolist()
    [0.0, 0.25]
    """
    at_a, at_b = a(weights), b(weights)
    after_a, after_b = b(weights - rate * at_a), a(weights - rate * at_b)
    difference = rate * ((at_b - after_a) - (at_a - after_b))
    return difference, (float(at_a.norm()), float(at_b.norm()))


def finding(dataset: xr.Dataset) -> str:
    """The course of the defect, and its share in the plane of the path."""
    text = (
        f"commutator defect {format_course(dataset.defect)} at η = "
        f"{dataset.attrs['learning_rate']:g}"
    )
    if dataset.inside.notnull().any():
        inside = format_number(dataset.inside.median("step"), ".1g")
        text += (
            f"; {inside} of its square in the plane of the path (median; "
            f"{dataset.attrs['chance']:.1g} for a random direction)"
        )
    return with_skipped_note(text, dataset)


def draw(measured: Measured, *, log: LogAxis = True) -> go.Figure:
    """The defect with its pairs, its share inside the plane, and the norm of the gradients."""
    attrs = next(iter(measured.values())).attrs
    figure = Panels(
        measured,
        title="Commutator of gradient steps on two batches over training",
        subtitle=f"η = {attrs['learning_rate']:g}, batches of {attrs['batch_size']:,}; thin: "
        "single pairs; dotted level: a random direction's share of the plane",
        log=log,
    )
    panel = figure.row(height=300).over_training(y={"title": "defect", "type": "log"})
    for label, dataset in measured.items():
        positive = dataset.defect_of.where(dataset.defect_of > 0)
        panel.bundle(dataset.step, positive.transpose("pair", "step"), run=label)
    panel.curves(lambda dataset: dataset.defect.where(dataset.defect > 0), width=3)
    row = figure.row(height=220)
    share = {"type": "log", "range": [-7, 0]}
    panel = row.over_training("share inside the plane of the path", y=share)
    panel.curves(lambda dataset: dataset.inside.where(dataset.inside > 0), value="%{y:.2e}")
    for dataset in measured.values():
        panel.level(dataset.attrs["chance"])
    panel = row.over_training("‖g‖ of a batch", y={"type": "log"})
    panel.curves(lambda dataset: dataset.gradient_norm.where(dataset.gradient_norm > 0))
    return figure.draw()
