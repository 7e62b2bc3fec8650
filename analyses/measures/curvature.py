"""The curvature of a loss: Hessian-vector products, top eigenvalues, trace, sharpness."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from scipy.linalg import eigh_tridiagonal
from torch import Tensor

#: v → H v.
Product = Callable[[Float[Tensor, " n"]], Float[Tensor, " n"]]


def flat(tensors: Sequence[Tensor]) -> Float[Tensor, " n"]:
    """Concatenate all entries of all tensors into one vector.

    >>> flat([torch.ones(1, 2), torch.zeros(1)])
    tensor([1., 1., 0.])
    """
    return torch.cat([tensor.flatten() for tensor in tensors])


def derivatives(
    loss: Float[Tensor, ""], weights: Sequence[Tensor]
) -> tuple[Float[Tensor, " n"], Product]:
    """The gradient and the Hessian of a loss with respect to the weights as one vector.

    The Hessian is a function for products H v = ∂(∂L/∂θ · v)/∂θ, by differentiating the gradient
    (Pearlmutter 1994): exact, at about twice the cost of a gradient. At the kink of a ReLU the
    second derivative counts as 0.

    Args:
        loss: the loss with its autograd graph.
        weights: leaves of that graph.

    >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> slope, hessian = derivatives((x[0] ** 2 * x[1]).sum(), [x])
    >>> slope, hessian(torch.tensor([1.0, 0.0]))
    (tensor([4., 1.]), tensor([4., 2.]))
    """
    slopes = _fill_missing(
        torch.autograd.grad(loss, weights, create_graph=True, allow_unused=True), weights
    )
    gradient = flat(slopes)

    def hessian(vector: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        if not gradient.requires_grad:  # the loss is linear in the weights
            return torch.zeros_like(vector)
        slopes = torch.autograd.grad(
            gradient, weights, grad_outputs=vector, retain_graph=True, allow_unused=True
        )
        return flat(_fill_missing(slopes, weights))

    return gradient.detach(), hessian


def _fill_missing(slopes: Sequence[Tensor | None], weights: Sequence[Tensor]) -> list[Tensor]:
    """The derivatives, with 0 for unused weights."""
    pairs = zip(slopes, weights, strict=True)
    return [torch.zeros_like(weight) if slope is None else slope for slope, weight in pairs]


def lanczos(
    product: Product, start: Float[Tensor, " n"], iterations: int
) -> tuple[Float[Tensor, " found"], Float[Tensor, " found"]]:
    """The ends of the spectrum of a symmetric matrix, from matrix-vector products.

    The Lanczos process with full reorthogonalization: after m iterations the eigenvalues of an
    m × m tridiagonal matrix approach those of the matrix from inside, the outermost first. If the
    start is in an invariant subspace of k dimensions, it stops after k with exact values. It finds
    a multiple eigenvalue once.

    Args:
        product: v → H v.
        start: a random vector, not orthogonal to the wanted eigenvectors.
        iterations: the largest m.

    Returns:
        Ritz values, the largest first, and the residual ‖H u − λ u‖ of each, which bounds its
        distance from an eigenvalue.

    Source: Lanczos 1950; Golub and Van Loan, Matrix Computations, chapter 10.

    >>> eigenvalues = torch.tensor([3.0, 1.0, -2.0], dtype=torch.float64)
    >>> values, _ = lanczos(lambda v: eigenvalues * v, torch.ones(3, dtype=torch.float64), 10)
    >>> values.round(decimals=9)
    tensor([ 3.,  1., -2.], dtype=torch.float64)
    """
    if not start.any():  # all weights are pruned
        return torch.zeros(1), torch.zeros(1)
    count = min(iterations, len(start))
    basis = start.new_empty(count + 1, len(start))
    basis[0] = start / start.norm()
    diagonal: list[float] = []
    off_diagonal: list[float] = []
    for at in range(count):
        after = product(basis[at])
        diagonal.append(float(after @ basis[at]))
        previous = basis[: at + 1]
        for _ in range(2):  # one pass loses orthogonality to rounding, two are enough
            after = after - (previous @ after) @ previous
        off_diagonal.append(float(after.norm()))
        scale = max(map(abs, [*diagonal, *off_diagonal]))
        if off_diagonal[-1] <= 10 * torch.finfo(start.dtype).eps * scale:
            off_diagonal[-1] = 0.0
            break
        basis[at + 1] = after / off_diagonal[-1]
    values, vectors = eigh_tridiagonal(diagonal, off_diagonal[:-1])
    residuals = off_diagonal[-1] * abs(vectors[-1])
    return torch.from_numpy(values[::-1].copy()), torch.from_numpy(residuals[::-1].copy())


def hutchinson(
    product: Product, like: Float[Tensor, " n"], probes: int, generator: torch.Generator
) -> tuple[float, float]:
    """The trace of a symmetric matrix, from matrix-vector products, and its standard error.

    tr H = E[vᵀ H v] for v of independent signs ±1; the variance of one probe is twice the sum of
    the squared off-diagonal entries, so one probe is exact for a diagonal matrix.

    Args:
        product: v → H v.
        like: a vector of the matrix's width and dtype.
        probes: the number of vectors v; with one, the standard error is NaN.
        generator: the source of random signs.

    Source: Hutchinson 1990.

    >>> diagonal = torch.tensor([3.0, 1.0, -2.0])
    >>> hutchinson(lambda v: diagonal * v, diagonal, 2, torch.Generator().manual_seed(0))
    (2.0, 0.0)
    """
    estimates = torch.empty(probes, dtype=torch.float64)
    for at in range(probes):
        signs = torch.randint(0, 2, like.shape, generator=generator).to(like) * 2 - 1
        estimates[at] = signs.double() @ product(signs).double()
    error = float(estimates.std() / probes**0.5) if probes > 1 else float("nan")
    return float(estimates.mean()), error


def ascent(
    gradient: Float[Tensor, " n"], weights: Float[Tensor, " n"], radius: float, adaptive: bool
) -> Float[Tensor, " n"]:
    """The step within a radius that raises the loss most, to first order; 0 for zero gradient.

    Args:
        gradient: ∂L/∂θ.
        weights: θ.
        radius: ρ.
        adaptive: whether the radius limits ε / |θ|, entry by entry, independent of the weights'
            scale: ε = ρ θ² g / ‖θ g‖ (ASAM: Kwon et al. 2021, arXiv 2102.11600); else ε = ρ g /
            ‖g‖ (SAM: Foret et al. 2021, arXiv 2010.01412).

    >>> g, w = torch.tensor([3.0, 4.0]), torch.tensor([1.0, 0.0])
    >>> ascent(g, w, 0.5, False), ascent(g, w, 0.5, True)
    (tensor([0.3000, 0.4000]), tensor([0.5000, 0.0000]))
    """
    scale = weights.abs() if adaptive else torch.ones_like(weights)
    steep = scale * gradient
    size = steep.norm()
    return radius * scale * steep / size if size > 0 else torch.zeros_like(gradient)
