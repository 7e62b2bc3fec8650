"""How a network folds its inputs, how small its weights compress, how many directions it uses."""

import bz2
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor

from mechgrok.interventions.base import Hooks
from mechgrok.models import HookedModel

#: What the first layer reads, in every model.
FIRST = "blocks.0.hook_resid_pre"
#: Vertices that go through a network at once.
_VERTICES = 4096
#: Widths of bins are tried from twice the largest weight down, half an octave each.
_WIDTHS = 2.0 * 2.0 ** (-np.arange(60) / 2)


def cross_polytope(
    dimensions: int, count: int, generator: torch.Generator
) -> Float[Tensor, "vertex d"]:
    """±u for each of ``count`` orthonormal directions u, drawn at random.

    >>> vertices = cross_polytope(3, 2, torch.Generator().manual_seed(0))
    >>> (vertices @ vertices.T).round().int().tolist()
    [[1, 0, -1, 0], [0, 1, 0, -1], [-1, 0, 1, 0], [0, -1, 0, 1]]
    """
    drawn = torch.randn(dimensions, min(count, dimensions), generator=generator).double()
    frame = torch.linalg.qr(drawn).Q.T
    return torch.cat([frame, -frame])


def straddling(pre: Float[Tensor, "example vertex neuron"]) -> Integer[Tensor, " example"]:
    """How many ReLUs are on at some vertices around an example and off at others.

    Each of these has its kink, a boundary between linear regions, within the vertices' hull.

    >>> straddling(torch.tensor([[[1.0, 2.0, -1.0], [-1.0, 3.0, -2.0]]]))
    tensor([1])
    """
    on = pre > 0
    return (on.any(1) & ~on.all(1)).sum(-1)


@torch.no_grad()
def first_inputs(model: HookedModel, inputs: Tensor) -> Float[Tensor, "example d"]:
    """What the first layer reads of each example, its positions one after another.

    >>> import mechgrok
    >>> run = mechgrok.Run("data/base")
    >>> first_inputs(run.model(-1), run.task.test.inputs[:4]).shape
    torch.Size([4, 500])
    """
    seen: list[Tensor] = []

    def store(value: Tensor, hook: Any) -> None:
        seen.append(value.flatten(1))

    model.run_with_hooks(inputs, fwd_hooks=[(FIRST, store)])
    return seen[0]


@torch.no_grad()
def local_complexity(
    model: HookedModel,
    inputs: Tensor,
    hooks: Sequence[str],
    vertices: Float[Tensor, "vertex d"],
) -> Integer[Tensor, "example layer"]:
    """How many neurons of each layer change their sign around each example.

    The density of linear regions around the data: the vertices are put around what the first layer
    reads, go through the network, and a neuron counts that is positive at some and not at others.

    Source: Humayun, Balestriero and Baraniuk 2024 (arXiv 2402.15555), section 3.

    Args:
        model: of ReLUs.
        inputs: the examples.
        hooks: where the layers' pre-activations are, ``[batch, (position,) neuron]``. Of the last
            one only the last position counts: the answer depends on no other.
        vertices: relative to each example.

    >>> import mechgrok
    >>> run = mechgrok.Run("data/base")
    >>> model, inputs, hooks = run.model(-1), run.task.test.inputs, ["blocks.0.mlp.hook_pre"]
    >>> around = cross_polytope(500, 20, torch.Generator().manual_seed(0))
    >>> near, far = (local_complexity(model, inputs, hooks, r * around) for r in (0.01, 1))
    >>> bool(near.double().mean() < far.double().mean())
    True
    """
    at_once = max(1, _VERTICES // len(vertices))
    found = []
    for chunk in inputs.split(at_once):
        shifts = vertices.to(model.dtype).repeat(len(chunk), 1)
        seen: dict[str, Tensor] = {}

        def move(value: Tensor, hook: Any, shifts: Tensor = shifts) -> Tensor:
            return value + shifts.view_as(value)

        def store(value: Tensor, hook: Any, seen: dict[str, Tensor] = seen) -> None:
            seen[hook.name] = value

        fwd_hooks: Hooks = [(FIRST, move), *((name, store) for name in hooks)]
        model.run_with_hooks(chunk.repeat_interleave(len(vertices), 0), fwd_hooks=fwd_hooks)
        counts = []
        for name in hooks:
            pre = seen[name]
            if pre.ndim == 3 and name == hooks[-1]:
                pre = pre[:, -1]
            counts.append(straddling(pre.reshape(len(chunk), len(vertices), -1)))
        found.append(torch.stack(counts, 1))
    return torch.cat(found)


def participation_ratio(points: Float[Tensor, "point d"]) -> float:
    """(Σλ)² / Σλ² over the eigenvalues λ of the covariance: how many directions points vary in.

    d where they vary alike in all, 1 on a line, 0 where they coincide.

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
    """Bytes of these numbers after bzip2, each in as few whole bytes as the largest takes.

    >>> compressed_size([np.zeros(10_000, dtype=int)]) < 60
    True
    """
    flat = np.concatenate([each.ravel() for each in integers])
    largest = int(np.abs(flat).max(initial=0))
    width = next(t for t in (np.int8, np.int16, np.int32, np.int64) if largest <= np.iinfo(t).max)
    return len(bz2.compress(flat.astype(width).tobytes()))


def coarsest(
    parts: Mapping[str, Sequence[Tensor]],
    accepts: Callable[[Mapping[str, Tensor]], bool],
) -> tuple[float, int] | None:
    """The widest bins to which weights can be rounded, and their size in bytes when compressed.

    One width for all: w becomes Δ round(w / Δ). Widths go down by half octaves from twice the
    largest weight, where all are 0, until the network is accepted; None where none is.

    Args:
        parts: each weight as the factors that are rounded: itself, or two whose product it is.
        accepts: whether a network with these weights is as good as before.

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
            every = [f.to(torch.int64).numpy() for factors in integers.values() for f in factors]
            return float(width), compressed_size(every)
    return None


def truncated(weight: Float[Tensor, "... m n"], share: float) -> list[Tensor]:
    """A weight as two factors of the lowest rank that keeps a share of its singular values' sum.

    The weight itself where the factors would be no smaller, and where it is no matrix. Of heads,
    all keep the rank that one of them needs.

    >>> [factor.shape for factor in truncated(torch.ones(4, 6), 0.9)]
    [torch.Size([4, 1]), torch.Size([1, 6])]
    >>> len(truncated(torch.eye(4), 0.9))
    1
    """
    if weight.ndim < 2:
        return [weight]
    U, S, V = torch.linalg.svd(weight, full_matrices=False)
    kept = S.cumsum(-1) < share * S.sum(-1, keepdim=True)
    rank = int(kept.sum(-1).max()) + 1
    m, n = weight.shape[-2:]
    if rank * (m + n) >= m * n:
        return [weight]
    return [U[..., :rank] * S[..., None, :rank], V[..., :rank, :]]
