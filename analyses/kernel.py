"""Is training lazy or rich? The neural tangent kernel: change, alignment, and what it can learn.

K(x, x') = (1/C) Σ_c ∇f_c(x) · ∇f_c(x') over C outputs and all weights. In lazy training the kernel
stays what it was at step 0; delayed generalization is said to come with its change towards the
target (Kumar et al. 2023, arXiv 2310.06110). Measured are CKA with the first kernel, the centred
alignment with the target on each side, and the test accuracy of the network that is linearized at
the checkpoint, f(x) = ∇f(x) · w, when ridge regression fits w to the training labels.

By default, 30 checkpoints are measured, evenly spaced in the sequence: the kernel on 100 random
examples of each side, in 6 random orthonormal directions of the outputs, and the linearized network
on at most 1,000 examples of each side.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp, vjp, vmap

from mechgrok.analyses.drawing import SHARE, LogAxis, Measured, Panels
from mechgrok.analyses.measures.checks import check_at_least, not_classification
from mechgrok.analyses.measures.evaluation import subsample
from mechgrok.analyses.measures.finite import finite_steps, select_finite_steps
from mechgrok.analyses.measures.formats import format_change, with_skipped_note
from mechgrok.analyses.measures.spacing import thin
from mechgrok.denormals import flushed_denormals
from mechgrok.models import HookedModel, raw_weights
from mechgrok.models.counts import TokenCounts
from mechgrok.results.variables import Variable, described
from mechgrok.runs import Run
from mechgrok.tasks import Examples
from mechgrok.tasks.losses import signs

#: Weights by the name of their parameter.
Weights = dict[str, Tensor]
#: (weights, encoded inputs) → outputs.
Outputs = Callable[[Weights, Tensor], Float[Tensor, "n output"]]

SIDES = ("train", "test")
#: The most examples of each side for the linearized network, and the iterations of its fit.
_LINEAR_EXAMPLES, _ITERATIONS = 1000, 60
#: The ridge penalty of the linearized network, relative to the kernel's mean diagonal.
_RIDGE = 10.0

VARIABLES = {
    "cka": Variable(
        "step", "ratio", "⟨K, K₀⟩ / (‖K‖ ‖K₀‖), both centred, K₀ at the first checkpoint"
    ),
    "alignment": Variable(
        "step, side",
        "ratio",
        "⟨K, Y Yᵀ⟩ / (‖K‖ ‖Y Yᵀ‖), centred, Y the one-hot labels of the side",
    ),
    "train_alignment": Variable("step", "ratio", "alignment on the training set"),
    "test_alignment": Variable("step", "ratio", "alignment on the test set"),
    "linearized_test_accuracy": Variable(
        "step",
        "share",
        "test accuracy of ∇f(x) · w, w fitted to the training labels by ridge regression",
    ),
    "test_accuracy": Variable("step", "share", "the network's own accuracy on these test examples"),
    "size": Variable("step", "output² per weight²", "K(x, x), mean over examples"),
}
#: The variables over steps that use labels of the test set.
USES_TEST_LABELS = ("test_alignment", "linearized_test_accuracy", "test_accuracy")


def applies(run: Run) -> str | None:
    """Requires one class per example."""
    return not_classification(run)


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    checkpoints: Annotated[
        int, "number of checkpoints, evenly by position; --steps overrides"
    ] = 30,
    examples: Annotated[int, "examples of each side for the kernel"] = 100,
    directions: Annotated[int, "of the outputs; as many as outputs: exact"] = 6,
    seed: Annotated[int, "of examples and directions"] = 0,
) -> xr.Dataset:
    """Measure the neural tangent kernel at evenly chosen checkpoints, or at the given steps.

    Returns:
        `VARIABLES`, NaN where a kernel or a target is constant.

    Raises:
        UserError: a number is out of its range.
    """
    check_at_least(1, checkpoints=checkpoints, directions=directions)
    check_at_least(2, examples=examples)
    at, of_steps = select_finite_steps(run, steps, partial(thin, count=checkpoints))
    few = [subsample(getattr(run.task, side), examples, seed) for side in SIDES]
    many = [subsample(getattr(run.task, side), _LINEAR_EXAMPLES, seed) for side in SIDES]
    inputs = torch.cat([side.inputs for side in few])
    probes = _probes(run.task.d_output, directions, seed)

    def kernel(step: int) -> Float[Tensor, "n n"]:
        return tangent_kernel(*_outputs_of(run.model(step), folded=False), inputs, probes)

    first = kernel(finite_steps(run, run.steps)[0])
    rows = [_row(kernel(step), first, few) for step in at]
    linear = [_linearized(run, step, *many) for step in at]
    sides = np.array([[row.train_alignment, row.test_alignment] for row in rows])
    return described(
        VARIABLES,
        {
            **{name: [getattr(row, name) for row in rows] for name in _Row._fields},
            "alignment": sides,
            "linearized_test_accuracy": [accuracy for accuracy, _ in linear],
            "test_accuracy": [own for _, own in linear],
        },
        coords={"step": at, "side": list(SIDES)},
        attrs={"examples": examples, "directions": len(probes), **of_steps, **run.milestones},
    )


class _Row(NamedTuple):
    """What a kernel is at one checkpoint, with variables of `VARIABLES` as fields."""

    cka: float
    train_alignment: float
    test_alignment: float
    size: float


def _row(
    kernel: Float[Tensor, "n n"], first: Float[Tensor, "n n"], sides: Sequence[Examples]
) -> _Row:
    n = len(sides[0].labels)
    train, test = (
        alignment(kernel[part, part], (labels[:, None] == labels).double())
        for part, (_, labels) in zip((slice(n), slice(n, None)), sides, strict=True)
    )
    return _Row(alignment(kernel, first), train, test, float(kernel.diagonal().mean()))


# --- kernels ------------------------------------------------------------------------------------


def _probes(d_output: int, directions: int, seed: int) -> Float[Tensor, "direction output"]:
    """Random orthonormal directions of the outputs; all unit vectors if there are no more."""
    if directions >= d_output:
        return torch.eye(d_output)
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(d_output, directions, generator=generator))[0].T


def _outputs_of(model: HookedModel, *, folded: bool) -> tuple[Outputs, Weights]:
    """The outputs of a network as a function of its weights, and its weights."""
    values = {id(weight) for weight in raw_weights(model).values()}
    weights = {n: w.detach() for n, w in nn.Module.named_parameters(model) if id(w) in values}
    # The full pass has small gradients of single examples; a user's model may have one pass only.
    mode: dict[str, Any] = {"mode": "full"} if model.folded_hooks and not folded else {}

    def outputs(given: Weights, inputs: Tensor) -> Tensor:
        return functional_call(model, given, (inputs,), mode)

    return outputs, weights


@flushed_denormals()
def tangent_kernel(
    outputs: Outputs,
    weights: Weights,
    inputs: Shaped[Tensor, "n ..."],
    probes: Float[Tensor, "direction output"],
) -> Float[Tensor, "n n"]:
    """The mean over directions v of ∇(v · f)(x) · ∇(v · f)(x'), in float64.

    Over an orthonormal basis it is the mean over outputs, and over random orthonormal directions it
    is that in expectation.

    Source: Jacot et al. 2018 (arXiv 1806.07572).

    >>> def linear(weights, inputs): return inputs @ weights["W"]
    >>> x = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    >>> tangent_kernel(linear, {"W": torch.ones(2, 3)}, x, torch.eye(3))
    tensor([[1., 1.],
            [1., 2.]], dtype=torch.float64)
    """
    total = torch.zeros(len(inputs), len(inputs), dtype=torch.float64)
    for probe in probes:

        def along(given: Weights, one: Tensor, probe: Tensor = probe) -> Tensor:
            return outputs(given, one[None])[0] @ probe.to(one.device)

        gradients = vmap(grad(along), in_dims=(None, 0))(weights, inputs)
        for part in gradients.values():
            rows = part.flatten(1)
            total += (rows @ rows.T).double()
    return total / len(probes)


def alignment(kernel: Float[Tensor, "n n"], other: Float[Tensor, "n n"]) -> float:
    """Centred kernel alignment ⟨K, L⟩ / (‖K‖ ‖L‖), also called CKA; NaN for a constant kernel.

    Source: Cortes et al. 2012 (arXiv 1203.0550).

    >>> line = torch.tensor([[1.0], [2.0], [4.0]])
    >>> round(alignment(line @ line.T, 3 * line @ line.T), 6)
    1.0
    """
    a, b = (_centred(matrix.double()) for matrix in (kernel, other))
    size = float(a.norm() * b.norm())
    return float((a * b).sum()) / size if size > 0 else float("nan")


def _centred(matrix: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
    """H K H with H = 1 − 1/n; 0 where only rounding is left."""
    centred = matrix - matrix.mean(0) - matrix.mean(1, keepdim=True) + matrix.mean()
    return centred if centred.norm() > 1e-9 * matrix.norm() else torch.zeros_like(centred)


# --- the linearized network ---------------------------------------------------------------------


@flushed_denormals()
def _linearized(run: Run, step: int, train: Examples, test: Examples) -> tuple[float, float]:
    """The test accuracies of the network linearized at a step, and of the network itself."""
    model = run.model(step)
    outputs, weights = _outputs_of(model, folded=True)
    fitted, further = (_dense(model, side.inputs) for side in (train, test))
    target = _target(train.labels, run.task.d_output)
    predicted = kernel_regression(outputs, weights, fitted, target, further)
    with torch.no_grad():
        own = run.task.accuracy(model(test.inputs), test.labels)
    return float(run.task.accuracy(predicted, test.labels)), float(own)


def _dense(model: HookedModel, inputs: Tensor) -> Tensor:
    """Encoded inputs; counts of tokens as vectors, which forward-mode derivatives support."""
    encoded = model.encode(inputs)
    if not isinstance(encoded, TokenCounts):
        return encoded
    return nn.functional.one_hot(encoded.tokens, encoded.d_vocab).sum(1).to(model.dtype)


def _target(labels: Shaped[Tensor, " n"], d_output: int) -> Float[Tensor, "n output"]:
    """One-hot labels, each with mean 0; ±1 for a single output."""
    if d_output == 1:
        return signs(labels)[:, None].float()
    return nn.functional.one_hot(labels, d_output).float() - 1 / d_output


def kernel_regression(
    outputs: Outputs,
    weights: Weights,
    fitted: Shaped[Tensor, "n ..."],
    target: Float[Tensor, "n output"],
    further: Shaped[Tensor, "m ..."],
) -> Float[Tensor, "m output"]:
    """Outputs of the linearized network J(x) w, fitted to a target by ridge regression.

    w = Jᵀ (J Jᵀ + λ)⁻¹ Y with J the derivatives of all outputs of the fitted examples, and λ ten
    times the mean diagonal of J Jᵀ (Hutchinson's estimate from one vector of signs), which the
    largest eigenvalues exceed by far. Conjugate
    gradients (at most 60 steps) solve it without forming J Jᵀ. Gradient flow on the squared error
    from w = 0 has a solution like it when it is stopped early.

    Args:
        outputs: (weights, inputs) → outputs.
        weights: where the network is linearized.
        fitted: the inputs of the target.
        target: Y.
        further: the inputs x.

    >>> def line(weights, inputs): return inputs * weights["w"]
    >>> x = torch.tensor([[1.0], [2.0]])
    >>> kernel_regression(line, {"w": torch.ones(1)}, x, 3 * x, torch.tensor([[10.0]]))
    tensor([[15.]])
    """
    pull_back = vjp(lambda given: outputs(given, fitted), weights)[1]

    def push(tangent: Weights, inputs: Tensor) -> Tensor:
        return jvp(lambda given: outputs(given, inputs), (weights,), (tangent,))[1]

    def product(vector: Tensor) -> Tensor:
        return push(pull_back(vector)[0], fitted)

    signs_ = torch.randint(0, 2, target.shape, generator=torch.Generator().manual_seed(0)) * 2.0 - 1
    diagonal = float((signs_ * product(signs_)).mean())
    solution = _conjugate_gradients(lambda v: product(v) + _RIDGE * diagonal * v, target)
    return push(pull_back(solution)[0], further)


def _conjugate_gradients(
    product: Callable[[Tensor], Tensor], target: Float[Tensor, "n output"]
) -> Float[Tensor, "n output"]:
    """Solve A x = b for a positive definite A; 0 where A or b is 0."""
    solution = torch.zeros_like(target)
    residual = direction = target
    square = first = float(residual.double().square().sum())
    for _ in range(_ITERATIONS):
        image = product(direction)
        curvature = float((direction * image).double().sum())
        if not curvature > 0 or square <= 1e-8 * first:
            break
        rate = square / curvature
        solution, residual = solution + rate * direction, residual - rate * image
        before, square = square, float(residual.double().square().sum())
        direction = residual + square / before * direction
    return solution


# --- figure -------------------------------------------------------------------------------------


def finding(dataset: xr.Dataset) -> str:
    """The courses of CKA, of the alignments, and of the linearized network's accuracy."""
    text = (
        f"CKA with the first kernel {format_change(dataset.cka, '.2f')}; alignment with the target "
        f"on train {format_change(dataset.train_alignment, '.2f')}, on test "
        f"{format_change(dataset.test_alignment, '.2f')}; right on the test set: linearized "
        f"{format_change(dataset.linearized_test_accuracy, '.0%')}, the network "
        f"{format_change(dataset.test_accuracy, '.0%')}"
    )
    return with_skipped_note(text, dataset)


def draw(measured: Measured, *, log: LogAxis = True) -> go.Figure:
    """CKA and alignment above, accuracies and the kernel's size below."""
    attrs = next(iter(measured.values())).attrs
    figure = Panels(
        measured,
        title="Neural tangent kernel over training",
        subtitle=f"kernel on {attrs['examples']} examples of each side",
        log=log,
    )
    ratio = {"range": [0, 1.05]}
    row = figure.row(height=240)
    row.over_training("CKA with the first kernel", y=ratio).curves("cka")
    panel = row.over_training("alignment with the target", y={"rangemode": "tozero"})
    for side, dash in zip(SIDES, ("solid", "dash"), strict=True):
        panel.curves("alignment", where={"side": side}, key=side, dash=dash)
    row = figure.row(height=240)
    panel = row.over_training("test accuracy of the linearized network", y=SHARE | ratio)
    panel.curves("linearized_test_accuracy", value="%{y:.1%}")
    panel.curves("test_accuracy", value="%{y:.1%}", key="the network's own", dash="dot", width=1.5)
    panel = row.over_training("K(x, x), mean", y={"type": "log"})
    panel.curves(lambda dataset: dataset["size"].where(dataset["size"] > 0))
    return figure.draw()
