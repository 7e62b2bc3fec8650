"""Does softmax collapse, and where does the gradient point? Logit scale, margin, gradients.

After memorization a network can lower its loss by scaling its logits alone: gradients then point
along the weights (naïve loss minimization), until the softmax of a training example rounds to 1 in
floating point and its loss and gradient are exactly 0 (softmax collapse). Weight decay limits the
scale; without it, a network may stop learning before it generalizes (Prieto et al. 2025, arXiv
2501.04697). Gradients at each checkpoint are of the loss alone, without penalty and weight decay.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float, Shaped
from torch import Tensor

from mechgrok.analyses.drawing import SHARE, LogAxis, Measured, Panels, Row, draw_weights
from mechgrok.analyses.measures.finite import select_finite_steps
from mechgrok.analyses.measures.formats import format_course, format_percent, with_skipped_note
from mechgrok.denormals import flushed_denormals
from mechgrok.metrics import scale_of
from mechgrok.models import HookedModel, raw_weights
from mechgrok.results.variables import Scalar, Variable, described
from mechgrok.runs import Run
from mechgrok.tasks import Task

#: The floating-point precisions of the softmax.
PRECISIONS = {"float32": torch.float32, "float64": torch.float64}
SIDES = ("train", "test")


def collapsed(
    logits: Float[Tensor, "n answer"], labels: Shaped[Tensor, " n"], dtype: torch.dtype
) -> float:
    """The share of examples with a cross-entropy of exactly 0 in ``dtype``.

    ln Σ_c exp(z_c − z_y) is 0 if rounding absorbs all terms of the sum except 1: the right answer
    leads by about 16 nats or more in float32, by 36 in float64, and the gradient vanishes.

    >>> logits = torch.tensor([[20.0, 0.0], [5.0, 0.0]])
    >>> right = torch.tensor([0, 0])
    >>> collapsed(logits, right, torch.float32), collapsed(logits, right, torch.float64)
    (0.5, 0.0)
    """
    loss = torch.nn.functional.cross_entropy(logits.to(dtype), labels, reduction="none")
    return float((loss == 0).double().mean())


def margin(logits: Float[Tensor, "n answer"], labels: Shaped[Tensor, " n"]) -> Float[Tensor, " n"]:
    """The right answer's logit minus the best wrong one, in nats.

    >>> margin(torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 0.0]]), torch.tensor([0, 2]))
    tensor([ 2., -2.])
    """
    right = logits.gather(1, labels[:, None])
    wrong = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    return right[:, 0] - wrong


def cosine(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    """The cosine between two sets of tensors, each as one vector; NaN if one is 0.

    >>> cosine({"w": torch.tensor([1.0, 0.0])}, {"w": torch.tensor([-2.0, 0.0])})
    -1.0
    """
    inner = sum(float((a[name].double() * b[name].double()).sum()) for name in a)
    size = _norm(a) * _norm(b)
    return inner / size if size else float("nan")


def _norm(tensors: Mapping[str, Tensor]) -> float:
    """The L2 norm of all tensors together, in float64."""
    return float(sum(float(t.double().square().sum()) for t in tensors.values())) ** 0.5


def applies(run: Run) -> str | None:
    """Requires a cross-entropy loss with a softmax."""
    softmax = run.task.training_objective.name.startswith("cross-entropy")  # in any precision
    if not softmax or run.task.loss_units != "nats":
        return f"{run.task.name} is not trained with a softmax and cross-entropy."
    return None


VARIABLES = {
    "collapsed": Variable(
        "step, precision", "share", "share of training examples with a loss of exactly 0"
    ),
    "logit_scale": Variable(
        "step, side", "nats", "root mean square of the logits, centred for each example"
    ),
    "margin": Variable("step, side", "nats", "mean lead of the right answer's logit"),
    "gradient_norm": Variable("step, weight, side", "nats per weight", "‖∂L/∂w‖₂"),
    "along_weights": Variable(
        "step, side", "cosine", "cos(−∇L, θ) over all weights: 1 if scaling θ up lowers L fastest"
    ),
    "sides_agree": Variable("step", "cosine", "cos(∇L_train, ∇L_test)"),
    "relative_change": Variable(
        "step, weight",
        "1/step",
        "‖w_t − w_s‖ / (t − s) / ‖w_t‖, s the previous checkpoint; NaN at the first",
    ),
    "precision": Variable("precision", "none", "floating-point precision of the softmax"),
}
#: Summaries of variables with further dimensions, one number per step.
SCALARS = {
    "train_logit_scale": Scalar("logit_scale", {"side": "train"}),
    "test_logit_scale": Scalar("logit_scale", {"side": "test"}),
    "train_margin": Scalar("margin", {"side": "train"}),
    "test_margin": Scalar("margin", {"side": "test"}),
    "train_gradient_norm": Scalar("gradient_norm", {"side": "train"}),
    "train_along_weights": Scalar("along_weights", {"side": "train"}),
    "relative_change": Scalar("relative_change"),
}
#: The variables over steps that use labels of the test set.
USES_TEST_LABELS = ("test_margin", "sides_agree")


def measure(run: Run, *, steps: Sequence[int] | None = None) -> xr.Dataset:
    """Measure softmax collapse and gradients at every checkpoint, or at the given steps.

    Returns:
        `VARIABLES`.
    """
    at, of_steps = select_finite_steps(run, steps)
    names, rows = run.weight_names, []
    before: tuple[int, Mapping[str, Tensor]] | None = None
    changes = np.full((len(at), len(names)), np.nan)
    for row, step in enumerate(at):
        rows.append(_measure(run.model(step), run.task))
        weights = run.checkpoint(step).effective_weights
        if before is not None:
            changes[row] = [_change(before, step, weights, name) for name in names]
        before = step, weights
    stacked = (np.array(values, dtype=float) for values in zip(*rows, strict=True))
    return described(
        VARIABLES,
        {**dict(zip(_Measurements._fields, stacked, strict=True)), "relative_change": changes},
        coords={"step": at, "precision": list(PRECISIONS), "side": list(SIDES), "weight": names},
        attrs={**run.milestones, **of_steps},
    )


class _Measurements(NamedTuple):
    """The measurements at one checkpoint, with the variables of `measure` as fields."""

    collapsed: list[float]
    logit_scale: list[float]
    margin: list[float]
    gradient_norm: list[list[float]]
    along_weights: list[float]
    sides_agree: float


@flushed_denormals()
def _measure(model: HookedModel, task: Task) -> _Measurements:
    weights = raw_weights(model)
    used = {name: weight.detach() for name, weight in weights.items()}
    logits, gradients = {}, {}
    for side in SIDES:
        inputs, labels = getattr(task, side)
        outputs = model(inputs)
        loss = task.loss(outputs, labels)
        slopes = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
        gradients[side] = {
            name: torch.zeros_like(weight) if slope is None else slope
            for (name, weight), slope in zip(weights.items(), slopes, strict=True)
        }
        logits[side] = outputs.detach()
    labels = {side: getattr(task, side).labels for side in SIDES}
    uphill = {side: {n: -g for n, g in gradients[side].items()} for side in SIDES}
    return _Measurements(
        [collapsed(logits["train"], labels["train"], dtype) for dtype in PRECISIONS.values()],
        [float(scale_of(logits[side])) for side in SIDES],
        [float(margin(logits[side], labels[side]).mean()) for side in SIDES],
        [[float(gradients[side][name].double().norm()) for side in SIDES] for name in weights],
        [cosine(uphill[side], used) for side in SIDES],
        cosine(gradients["train"], gradients["test"]),
    )


def _change(
    before: tuple[int, Mapping[str, Tensor]], step: int, weights: Mapping[str, Tensor], name: str
) -> float:
    earlier, old = before
    size = float(weights[name].double().norm())
    moved = float((weights[name].double() - old[name].double()).norm())
    return moved / (step - earlier) / size if size else float("nan")


def finding(dataset: xr.Dataset) -> str:
    """The largest collapsed share of the training set, and the gradients' cosine with weights."""
    shares = " and ".join(
        f"{format_percent(dataset.collapsed.sel(precision=precision).max())} of the training set "
        f"in {precision}"
        for precision in dataset.precision.to_numpy()
    )
    along = format_course(dataset.along_weights.sel(side="train"), ".2f")
    text = f"softmax collapse reaches {shares}; cosine of −∇L train and the weights {along}"
    return with_skipped_note(text, dataset)


def draw(measured: Measured, *, log: LogAxis = True) -> go.Figure:
    """Collapse, margin and scale; gradient directions; gradient and change of each weight."""
    figure = Panels(
        measured,
        title="Softmax collapse, logits and gradients over training",
        subtitle="solid: training set; dashed: test set; gradients of the loss alone",
        log=log,
    )
    row = figure.row(height=220)
    panel = row.over_training("loss exactly 0", y=SHARE | {"title": "share of the training set"})
    for precision, dash in zip(PRECISIONS, ("solid", "dot"), strict=True):
        style: dict[str, Any] = {"key": f"in {precision}", "dash": dash, "value": "%{y:.1%}"}
        panel.curves("collapsed", where={"precision": precision}, **style)
    for name, title in (("margin", "lead of the right answer"), ("logit_scale", "logit scale")):
        _draw_sides(row, name, title, {"title": "nats"})
    row = figure.row(height=220)
    cosines = {"title": "cosine", "range": [-1.05, 1.05]}
    _draw_sides(row, "along_weights", "cos(−∇L, θ)", cosines)
    panel = row.over_training("cos(∇L train, ∇L test)", y=cosines | {"title": ""})
    panel.curves("sides_agree", value="%{y:+.3f}")
    row.fill(3)
    draw_weights(figure, _gradient_norms, title="‖∂L/∂w‖", type="log")
    draw_weights(figure, _relative_changes, title="‖Δw‖ / ‖w‖ per step", type="log")
    return figure.draw()


_DASH = {"train": "solid", "test": "dash"}


def _draw_sides(row: Row, name: str, title: str, y: dict[str, Any]) -> None:
    panel = row.over_training(title, y=y)
    for side in SIDES:
        panel.curves(name, where={"side": side}, dash=_DASH[side], value="%{y:.3g}")


def _gradient_norms(dataset: xr.Dataset) -> Iterator[tuple[xr.DataArray, dict[str, Any]]]:
    for side in SIDES:
        norm = dataset.gradient_norm.sel(side=side)
        yield norm.where(norm > 0), {"dash": _DASH[side], "value": "%{y:.2e}"}


def _relative_changes(dataset: xr.Dataset) -> Iterator[tuple[xr.DataArray, dict[str, Any]]]:
    yield dataset.relative_change.where(dataset.relative_change > 0), {"value": "%{y:.2e}"}
