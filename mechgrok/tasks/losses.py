"""Losses and accuracies: functions of outputs ``[n, d_output]`` and labels, in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Integer
    from torch import Tensor


def cross_entropy(
    outputs: Float[Tensor, "n answer"], labels: Integer[Tensor, " n"]
) -> Float[Tensor, ""]:
    """Mean cross-entropy, exact even for tiny losses and gradients (`cross_entropy`)."""
    from mechgrok.tasks.cross_entropy import cross_entropy as exact

    return exact(outputs, labels)


def cross_entropy_with_gradient(
    outputs: Float[Tensor, "n answer"], labels: Integer[Tensor, " n"]
) -> tuple[Float[Tensor, ""], Float[Tensor, "n answer"]]:
    """`cross_entropy` and its gradient at the outputs."""
    from mechgrok.tasks.cross_entropy import with_gradient

    return with_gradient(outputs, labels)


def cross_entropy_float64(
    outputs: Float[Tensor, "n answer"], labels: Integer[Tensor, " n"]
) -> Float[Tensor, ""]:
    """Mean cross-entropy by log-softmax in float64; loss and gradient are 0 below 1e-16."""
    from torch.nn import functional

    return functional.cross_entropy(outputs.double(), labels)


def cross_entropy_float32(
    outputs: Float[Tensor, "n answer"], labels: Integer[Tensor, " n"]
) -> Float[Tensor, ""]:
    """Mean cross-entropy by log-softmax in float32; loss and gradient are 0 below 6e-8.

    Source: Prieto et al. 2025 (arXiv 2501.04697), who call this softmax collapse.
    """
    from torch.nn import functional

    return functional.cross_entropy(outputs.float(), labels).double()


def stablemax(
    outputs: Float[Tensor, "n answer"], labels: Integer[Tensor, " n"]
) -> Float[Tensor, ""]:
    """Mean of −log(s(f_y) / Σ_c s(f_c)) with s(x) = x + 1 for x ≥ 0 and 1 / (1 − x) below.

    This is cross-entropy with s instead of exp. Because s grows only linearly, no loss rounds to 0,
    and scaling logits up gains little.

    Source: Prieto et al. 2025 (arXiv 2501.04697), equations 5 and 6, in float64 as in their code.
    """
    s = _stablemax_s(outputs.double())
    right_s = s.gather(1, labels[:, None])[:, 0]
    return (s.sum(1).log() - right_s.log()).mean()


def stablemax_with_gradient(
    outputs: Float[Tensor, "n answer"], labels: Integer[Tensor, " n"]
) -> tuple[Float[Tensor, ""], Float[Tensor, "n answer"]]:
    """`stablemax` and its gradient at the outputs: s'(f_c) / Σ s − [c = y] s'(f_y) / s(f_y).

    s' is 1 for x ≥ 0 and s² below.
    """
    import torch

    right, s = labels[:, None], _stablemax_s(outputs.double())
    total, right_s = s.sum(1, keepdim=True), s.gather(1, right)
    slope = torch.where(outputs < 0, s * s, 1)
    gradient = slope / total
    gradient.scatter_add_(1, right, -slope.gather(1, right) / right_s)
    loss = (total.log() - right_s.log()).mean()
    return loss, gradient.div_(len(outputs)).to(outputs.dtype)


def _stablemax_s(x: Float[Tensor, "n answer"]) -> Float[Tensor, "n answer"]:
    """StableMax's s."""
    import torch

    # Clamped, because the unused branch must have a finite gradient too.
    return torch.where(x < 0, 1 / (1 - x.clamp(max=0)), x + 1)


def mse(outputs: Float[Tensor, "n d_output"], labels: Integer[Tensor, " n"]) -> Float[Tensor, ""]:
    """Mean squared error against one-hot labels, or against ±1 for one output."""
    return (sign_mse if outputs.shape[1] == 1 else one_hot_mse)(outputs, labels)


def one_hot_mse(
    outputs: Float[Tensor, "n answer"], labels: Integer[Tensor, " n"]
) -> Float[Tensor, ""]:
    """(1 / n C) Σ_i Σ_c (f_c(x_i) − [c = y_i])² over n examples and C answers, in float64.

    Source: the MNIST set-up of Liu et al. 2022 (arXiv 2210.01117, Omnigrok).
    """
    from torch.nn import functional

    one_hot = functional.one_hot(labels, outputs.shape[1])
    return functional.mse_loss(outputs.double(), one_hot.double())


def sign_mse(outputs: Float[Tensor, "n 1"], labels: Integer[Tensor, " n"]) -> Float[Tensor, ""]:
    """Mean of (f(x) − y)² for one output and labels 0, 1 read as y = −1, 1."""
    return (outputs[:, 0].double() - signs(labels)).square().mean()


def hinge(outputs: Float[Tensor, "n 1"], labels: Integer[Tensor, " n"]) -> Float[Tensor, ""]:
    """Mean of max(0, 1 − y f(x)) for one output and labels 0, 1 read as y = −1, 1."""
    return (1 - signs(labels) * outputs[:, 0].double()).clamp_min(0).mean()


def signs(labels: Integer[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Labels 0 and 1 as the numbers −1 and 1."""
    return 2.0 * labels.double() - 1


def accuracy(
    outputs: Float[Tensor, "n d_output"], labels: Integer[Tensor, " n"]
) -> Float[Tensor, ""]:
    """Share of examples with the label's output largest, or with the right sign for one output.

    NaN if an output is NaN.
    """
    invalid = outputs.isnan().any(-1)
    return right(outputs, labels).double().masked_fill(invalid, float("nan")).mean()


def right(
    outputs: Float[Tensor, "n d_output"], labels: Integer[Tensor, " n"]
) -> Bool[Tensor, " n"]:
    """Whether each example's answer is right."""
    if outputs.shape[1] == 1:
        return (outputs[:, 0] > 0) == labels.bool()
    return outputs.argmax(-1) == labels


def targets(labels: Float[Tensor, "n ..."]) -> Float[Tensor, "n d_output"]:
    """Real labels as rows of outputs, in float64."""
    return labels.double().reshape(len(labels), -1)


def unexplained(
    outputs: Float[Tensor, "n d_output"],
    labels: Float[Tensor, "n ..."],
    variance: Float[Tensor, ""],
) -> Float[Tensor, ""]:
    """⟨(f(x) − y)²⟩ / Var(y), in float64."""
    from torch.nn import functional

    error = functional.mse_loss(outputs.double(), targets(labels))
    return error / variance.to(error.device)


def within_a_tenth(
    outputs: Float[Tensor, "n d_output"],
    labels: Float[Tensor, "n ..."],
    variance: Float[Tensor, ""],
) -> Float[Tensor, ""]:
    """Share of outputs within a tenth of the labels' standard deviation from their label.

    NaN if an output is NaN.
    """
    error = (outputs.double() - targets(labels)).abs()
    within = error <= 0.1 * variance.sqrt().to(error.device)
    return within.double().masked_fill(outputs.isnan(), float("nan")).mean()
