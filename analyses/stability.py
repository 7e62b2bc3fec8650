"""Is the loss still saying anything? Softmax collapse, logit scale, gradients along the weights.

Past memorization a network can lower its loss by scaling its logits alone: gradients then point
along the weights (naïve loss minimization), until the softmax of a training example rounds to 1 in
floating point and its loss and gradient are exactly 0 (softmax collapse). Weight decay holds the
scale down; without it, a network may stop learning before it generalizes (Prieto et al. 2025, arXiv
2501.04697). Gradients are computed from each checkpoint, those of the loss alone, without penalty
and weight decay.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, NamedTuple

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float, Shaped
from torch import Tensor

from mechgrok.analyses.drawing import SHARE, Panels, Row
from mechgrok.analyses.measures.finite import and_left_out, looked_at
from mechgrok.denormals import flushed_denormals
from mechgrok.metrics import scale_of
from mechgrok.models import HookedModel, raw_weights
from mechgrok.models.wiring import short_names
from mechgrok.results.variables import Variable, described
from mechgrok.runs import Run
from mechgrok.tasks import Task

#: The precisions in which the softmax may round.
PRECISIONS = {"float32": torch.float32, "float64": torch.float64}
SIDES = ("train", "test")


def collapsed(
    logits: Float[Tensor, "n answer"], labels: Shaped[Tensor, " n"], dtype: torch.dtype
) -> float:
    """The share of examples whose cross-entropy is exactly 0 when it is computed in ``dtype``.

    ln Σ_c exp(z_c − z_y) is 0 where the sum absorbs all terms but its 1: the right answer leads by
    about 16 nats or more in float32, by 36 in float64, and nothing is left to learn from.

    >>> logits = torch.tensor([[20.0, 0.0], [5.0, 0.0]])
    >>> right = torch.tensor([0, 0])
    >>> collapsed(logits, right, torch.float32), collapsed(logits, right, torch.float64)
    (0.5, 0.0)
    """
    loss = torch.nn.functional.cross_entropy(logits.to(dtype), labels, reduction="none")
    return float((loss == 0).double().mean())


def margin(logits: Float[Tensor, "n answer"], labels: Shaped[Tensor, " n"]) -> Float[Tensor, " n"]:
    """How far the right answer's logit is above the best wrong one's, in nats.

    >>> margin(torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 0.0]]), torch.tensor([0, 2]))
    tensor([ 2., -2.])
    """
    right = logits.gather(1, labels[:, None])
    wrong = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    return right[:, 0] - wrong


def cosine(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    """The cosine between two sets of tensors, each as one vector; NaN where one is 0.

    >>> cosine({"w": torch.tensor([1.0, 0.0])}, {"w": torch.tensor([-2.0, 0.0])})
    -1.0
    """
    inner = sum(float((a[name].double() * b[name].double()).sum()) for name in a)
    size = _norm(a) * _norm(b)
    return inner / size if size else float("nan")


def _norm(tensors: Mapping[str, Tensor]) -> float:
    """The L2 norm of all together, in float64."""
    return float(sum(float(t.double().square().sum()) for t in tensors.values())) ** 0.5


def applies(run: Run) -> str | None:
    """The loss must be a cross-entropy: softmax is what collapses."""
    softmax = run.task.training_objective.name.startswith("cross-entropy")  # in any precision
    if not softmax or run.task.loss_units != "nats":
        return f"{run.task.name} is not trained with a softmax and cross-entropy."
    return None


VARIABLES = {
    "collapsed": Variable(
        "step, precision", "share", "share of the training examples whose loss is exactly 0"
    ),
    "logit_scale": Variable(
        "step, side", "nats", "root mean square of the logits, each example's mean aside"
    ),
    "margin": Variable("step, side", "nats", "mean lead of the right answer's logit"),
    "gradient_norm": Variable("step, weight, side", "nats per weight", "‖∂L/∂w‖₂"),
    "along_weights": Variable(
        "step, side", "cosine", "cos(−∇L, θ) over all weights: 1 where L falls by scaling θ up"
    ),
    "sides_agree": Variable("step", "cosine", "cos(∇L_train, ∇L_test)"),
    "relative_change": Variable(
        "step, weight",
        "1/step",
        "‖w_t − w_s‖ / (t − s) / ‖w_t‖, s the checkpoint before; NaN at the first",
    ),
    "precision": Variable(
        "precision", "none", "of the floating-point numbers in which the softmax is taken"
    ),
}


def measure(run: Run, *, steps: Sequence[int] | None = None) -> xr.Dataset:
    """What is left of the loss and where its gradient points, at all checkpoints or given ones.

    Returns:
        `VARIABLES`.
    """
    at, of_steps = looked_at(run, steps)
    task, names = run.task, run.weight_names
    looks = []
    before: tuple[int, Mapping[str, Tensor]] | None = None
    changes = np.full((len(at), len(names)), np.nan)
    for row, step in enumerate(at):
        model = run.model(step)
        looks.append(_look(model, task))
        weights = run.checkpoint(step).effective_weights
        if before is not None:
            changes[row] = [_change(before, step, weights, name) for name in names]
        before = step, weights
    dataset = described(
        VARIABLES,
        {
            "collapsed": _stack(looks, "collapsed"),
            "logit_scale": _stack(looks, "scale"),
            "margin": _stack(looks, "margin"),
            "gradient_norm": _stack(looks, "norms"),
            "along_weights": _stack(looks, "along"),
            "sides_agree": _stack(looks, "agree"),
            "relative_change": changes,
        },
        coords={"step": at, "precision": list(PRECISIONS), "side": list(SIDES), "weight": names},
        attrs=run.milestones,
    )
    return dataset.assign_attrs(of_steps)


class _Look(NamedTuple):
    """What is seen at one checkpoint; the fields are `measure`'s variables, by side or weight."""

    collapsed: list[float]
    scale: list[float]
    margin: list[float]
    norms: list[list[float]]
    along: list[float]
    agree: float


@flushed_denormals()
def _look(model: HookedModel, task: Task) -> _Look:
    weights = raw_weights(model)
    logits: dict[str, Tensor] = {}
    gradients: dict[str, dict[str, Tensor]] = {}
    for side in SIDES:
        inputs, labels = getattr(task, side)
        outputs = model(inputs)
        loss = task.loss(outputs, labels)
        of_weights = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
        gradients[side] = {
            name: torch.zeros_like(weight) if each is None else each
            for (name, weight), each in zip(weights.items(), of_weights, strict=True)
        }
        logits[side] = outputs.detach()
    labels = {side: getattr(task, side).labels for side in SIDES}
    used = {name: weight.detach() for name, weight in weights.items()}
    uphill = {side: {n: -g for n, g in gradients[side].items()} for side in SIDES}
    return _Look(
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


def _stack(looks: Sequence[_Look], name: str) -> np.ndarray:
    return np.array([getattr(look, name) for look in looks], dtype=float)


def finding(dataset: xr.Dataset) -> str:
    """How much of the training set collapsed at most, and how far gradients follow the weights."""
    words = []
    for precision in dataset.precision.to_numpy().tolist():
        share = dataset.collapsed.sel(precision=precision)
        most = int(share.to_numpy().argmax())
        words.append(
            f"{float(share[most]):.0%} of the training set in {precision}"
            + (f" (step {int(dataset.step[most]):,})" if float(share[most]) else "")
        )
    text = f"softmax collapse reaches {' and '.join(words)}"
    along = dataset.along_weights.sel(side="train").dropna("step")
    if along.size:
        most = int(along.to_numpy().argmax())
        text += (
            f"; the training loss falls along the weights most at step "
            f"{int(along.step[most]):,} (cosine {float(along[most]):+z.2f}), "
            f"{float(along[-1]):+z.2f} at step {int(along.step[-1]):,}"
        )
    return and_left_out(text, dataset)


def draw(
    measured: Mapping[str, xr.Dataset],
    *,
    log: Annotated[bool, "logarithmic step axis"] = True,
) -> go.Figure:
    """Collapse, margin and scale above; directions; gradient and change of each weight below."""
    figure = Panels(
        measured,
        title=_title(measured),
        subtitle="solid: training set; dashed: test set; gradients of the loss alone",
        log=log,
    )
    row = figure.row(height=220)
    panel = row.over_training("loss exactly 0", y=SHARE | {"title": "share of the training set"})
    for label, dataset in measured.items():
        for precision, dash in zip(PRECISIONS, ("solid", "dot"), strict=True):
            share = dataset.collapsed.sel(precision=precision)
            panel.lines(
                dataset.step, share, run=label, key=f"in {precision}", dash=dash, value="%{y:.1%}"
            )
    for name, title in (("margin", "lead of the right answer"), ("logit_scale", "logit scale")):
        _by_side(row, measured, name, title, {"title": "nats"})
    row = figure.row(height=220)
    cosines = {"title": "cosine", "range": [-1.05, 1.05]}
    _by_side(row, measured, "along_weights", "cos(−∇L, θ)", cosines)
    panel = row.over_training("cos(∇L train, ∇L test)", y=cosines | {"title": ""})
    for label, dataset in measured.items():
        panel.lines(dataset.step, dataset.sides_agree, run=label, value="%{y:+.3f}")
    row.fill(3)
    _by_weight(figure, measured)
    return figure.draw()


#: Weights beside one another.
_ACROSS = 4
_DASH = {"train": "solid", "test": "dash"}


def _by_side(
    row: Row, measured: Mapping[str, xr.Dataset], name: str, title: str, y: Mapping[str, object]
) -> None:
    panel = row.over_training(title, y=dict(y))
    for label, dataset in measured.items():
        for side in SIDES:
            curve = dataset[name].sel(side=side)
            panel.lines(dataset.step, curve, run=label, dash=_DASH[side], value="%{y:.3g}")


def _by_weight(figure: Panels, measured: Mapping[str, xr.Dataset]) -> None:
    """The gradient norm of each weight, and how fast it changes."""
    weights = list(dict.fromkeys(str(w) for ds in measured.values() for w in ds.weight.to_numpy()))
    short = short_names(weights)
    scale = {"type": "log"}
    for name, what in (("gradient_norm", "‖∂L/∂w‖"), ("relative_change", "‖Δw‖ / ‖w‖ per step")):
        if not any((ds[name] > 0).any() for ds in measured.values()):
            continue
        for at, weight in enumerate(weights):
            if at % _ACROSS == 0:
                row = figure.row(height=150)
            title = {"title": what} if at % _ACROSS == 0 else {}
            panel = row.over_training(short[weight], y=scale | title, marks=())
            for label, dataset in measured.items():
                if weight not in dataset.weight:
                    continue
                each = dataset[name].sel(weight=weight)
                for side in SIDES if "side" in each.dims else (None,):
                    curve = each if side is None else each.sel(side=side)
                    positive = curve.where(curve > 0)
                    dash = _DASH[side or "train"]
                    panel.lines(dataset.step, positive, run=label, dash=dash, value="%{y:.2e}")
        row.fill(_ACROSS)


def _title(measured: Mapping[str, xr.Dataset]) -> str:
    in_float32 = {label: ds.collapsed.sel(precision="float32") for label, ds in measured.items()}
    most = {label: float(share.max()) for label, share in in_float32.items()}
    if max(most.values()) < 0.01:
        return "No softmax collapse: every training example keeps a loss in float32"
    worst = max(most, key=most.__getitem__)
    of = f" of {worst}" if len(measured) > 1 else ""
    return (
        f"Up to {most[worst]:.0%} of the training examples{of} have a loss of exactly 0 in float32"
    )
