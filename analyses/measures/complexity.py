"""Complexity measures: local complexity, compressed size, and participation ratio."""

import bz2
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor

from mechgrok.interventions.fields import Hooks
from mechgrok.models import HookedModel

#: The hook of the first layer's input, in every model.
FIRST = "blocks.0.hook_resid_pre"
#: Vertices per forward pass.
_VERTICES = 4096
#: Bin widths, relative to the largest weight, from 2 down by half octaves.
_WIDTHS = 2.0 * 2.0 ** (-np.arange(60) / 2)


def cross_polytope(
    dimensions: int, count: int, generator: torch.Generator
) -> Float[Tensor, "vertex d"]:
    """±u for ``count`` random orthonormal directions u.

    >>> vertices = cross_polytope(3, 2, torch.Generator().manual_seed(0))
    >>> (vertices @ vertices.T).round().int().tolist()
    [[1, 0, -1, 0], [0, 1, 0, -1], [-1, 0, 1, 0], [0, -1, 0, 1]]
    """
    drawn = torch.randn(dimensions, min(count, dimensions), generator=generator).double()
    frame = torch.linalg.qr(drawn).Q.T
    return torch.cat([frame, -frame])


def straddling(pre: Float[Tensor, "example vertex neuron"]) -> Integer[Tensor, " example"]:
    """The number of ReLUs that are on at some vertices around an example and off at others.

    The kink of such a ReLU, a boundary between linear regions, crosses the vertices' hull.

    >>> straddling(torch.tensor([[[1.0, 2.0, -1.0], [-1.0, 3.0, -2.0]]]))
    tensor([1])
    """
    on = pre > 0
    return (on.any(1) & ~on.all(1)).sum(-1)


@torch.no_grad()
def first_inputs(model: HookedModel, inputs: Tensor) -> Float[Tensor, "example d"]:
    """The first layer's input for each example, with positions concatenated.

    >>> import mechgrok
    >>> run = mechgrok.Run("data/base")
    >>> first_inputs(run.model(-1), run.task.test.inputs[:4]).shape
    torch.Size([4, 500])
    """
    values: list[Tensor] = []

    def store(value: Tensor, hook: Any) -> None:
        values.append(value.flatten(1))

    model.run_with_hooks(inputs, fwd_hooks=[(FIRST, store)])
    return values[0]


@torch.no_grad()
def local_complexity(
    model: HookedModel,
    inputs: Tensor,
    hooks: Sequence[str],
    vertices: Float[Tensor, "vertex d"],
) -> Integer[Tensor, "example layer"]:
    """The number of neurons in each layer that change sign around each example.

    A measure of the density of linear regions around the data: vertices around the first layer's
    input pass through the network, and a neuron counts if it is positive at some vertices only.

    Source: Humayun, Balestriero and Baraniuk 2024 (arXiv 2402.15555), section 3.

    Args:
        model: a ReLU network.
        inputs: the examples.
        hooks: hooks of the layers' pre-activations, ``[batch, (position,) neuron]``. For the last
            hook only the last position counts, which determines the answer.
        vertices: relative to each example.

    >>> import mechgrok
    >>> run = mechgrok.Run("data/base")
    >>> model, inputs, hooks = run.model(-1), run.task.test.inputs, ["blocks.0.mlp.hook_pre"]
    >>> around = cross_polytope(500, 20, torch.Generator().manual_seed(0))
    >>> near, far = (local_complexity(model, inputs, hooks, r * around) for r in (0.01, 1))
    >>> bool(near.double().mean() < far.double().mean())
    True
    """
    batch_size = max(1, _VERTICES // len(vertices))
    rows = []
    for chunk in inputs.split(batch_size):
        shifts = vertices.to(model.dtype).repeat(len(chunk), 1)
        cache: dict[str, Tensor] = {}

        def move(value: Tensor, hook: Any, shifts: Tensor = shifts) -> Tensor:
            return value + shifts.view_as(value)

        def store(value: Tensor, hook: Any, cache: dict[str, Tensor] = cache) -> None:
            cache[hook.name] = value

        fwd_hooks: Hooks = [(FIRST, move), *((name, store) for name in hooks)]
        model.run_with_hooks(chunk.repeat_interleave(len(vertices), 0), fwd_hooks=fwd_hooks)
        counts = []
        for name in hooks:
            pre = cache[name]
            if pre.ndim == 3 and name == hooks[-1]:
                pre = pre[:, -1]
            counts.append(straddling(pre.reshape(len(chunk), len(vertices), -1)))
        rows.append(torch.stack(counts, 1))
    return torch.cat(rows)


def participation_ratio(points: Float[Tensor, "point d"]) -> float:
    """(Σλ)² / Σλ² over the eigenvalues λ of the covariance: the effective dimension of points.

    d for equal variance in all directions, 1 on a line, 0 for coinciding points.

    Source: Gao et al. 2017, "A theory of multineuronal dimensionality, dynamics and measurement".

    >>> square = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> [participation_ratio(square[:count]) for count in (4, 2, 1)]
    [2.0, 1.0, 0.0]
    """
    centred = points.double() - points.double().mean(0)
    narrow = centred.T @ centred if centred.shape[0] > centred.shape[1] else centred @ centred.T
    squares = float(narrow.square().sum())
    return float(narrow.trace()) ** 2 / squares if squares else 0.0


def compressed_size(integers: Sequence[Integer[np.ndarray, "..."]]) -> int:
    """The size of the numbers in bytes under bzip2, in the narrowest integer type that fits.

    >>> compressed_size([np.zeros(10_000, dtype=int)]) < 60
    True
    """
    flat = np.concatenate([array.ravel() for array in integers])
    largest = int(np.abs(flat).max(initial=0))
    width = next(t for t in (np.int8, np.int16, np.int32, np.int64) if largest <= np.iinfo(t).max)
    return len(bz2.compress(flat.astype(width).tobytes()))


def coarsest(
    parts: Mapping[str, Sequence[Tensor]],
    accepts: Callable[[Mapping[str, Tensor]], bool],
) -> tuple[float, int] | None:
    """The widest acceptable bins for rounding weights, and the compressed size in bytes.

    All weights share one width: w becomes Δ round(w / Δ). Widths fall by half octaves from twice
    the largest weight, which rounds all to 0, until the network is accepted; None if none is.

    Args:
        parts: the factors to round, for each weight: the weight itself, or two factors of it.
        accepts: whether a network with the rounded weights is good enough.

    Source: DeMoss et al. 2024 (arXiv 2412.09810), who search widths and ranks by Bayesian
    optimization.

    >>> weights = {"w": [torch.tensor([1.0, 0.9, -1.1, 0.1])]}
    >>> width, size = coarsest(weights, lambda rounded: bool(rounded["w"][0] > 0.9))
    >>> round(width, 3), size > 0
    (1.556, True)
    """
    largest = max(float(factor.abs().max()) for factors in parts.values() for factor in factors)
    for width in _WIDTHS * (largest or 1.0):
        integers = {name: [(f / width).round() for f in factors] for name, factors in parts.items()}
        rounded = {}
        for name, factors in integers.items():
            weight = factors[0] * width
            for factor in factors[1:]:
                weight = weight @ (factor * width)
            rounded[name] = weight
        if accepts(rounded):
            arrays = [f.to(torch.int64).numpy() for factors in integers.values() for f in factors]
            return float(width), compressed_size(arrays)
    return None


def truncated(weight: Float[Tensor, "... m n"], share: float) -> list[Tensor]:
    """Factor a weight at the lowest rank that keeps a share of its singular values' sum.

    Returns the weight alone if it is not a matrix or if the factors are not smaller. All heads
    share the largest rank that a head needs.

    >>> [factor.shape for factor in truncated(torch.ones(4, 6), 0.9)]
    [torch.Size([4, 1]), torch.Size([1, 6])]
    >>> len(truncated(torch.eye(4), 0.9))
    1
    """
    if weight.ndim < 2:
        return [weight]
    U, S, V = torch.linalg.svd(weight, full_matrices=False)
    is_below = S.cumsum(-1) < share * S.sum(-1, keepdim=True)
    rank = int(is_below.sum(-1).max()) + 1
    m, n = weight.shape[-2:]
    if rank * (m + n) >= m * n:
        return [weight]
    return [U[..., :rank] * S[..., None, :rank], V[..., :rank, :]]
