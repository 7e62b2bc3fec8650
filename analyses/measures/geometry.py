"""Geometry of points and matrices: principal components, planes of frequencies, ranks."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def principal_components(
    gram: Float[Tensor, "point point"], count: int
) -> tuple[Float[np.ndarray, "point component"], Float[np.ndarray, " component"]]:
    """Coordinates along the leading principal components, and the share of variance of each.

    From the Gram matrix X Xᵀ of centred points X = U S Vᵀ: the coordinates are U S. The arbitrary
    sign of a component is chosen to put the last point on the positive side. Components beyond the
    number of points, and all components of coinciding points, are 0.

    >>> import torch
    >>> x = torch.tensor([[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    >>> position, explained = principal_components(x @ x.T, 2)
    >>> position[:, 0].round(6).tolist(), explained.round(6).tolist()
    ([-1.0, 0.0, 1.0], [1.0, 0.0])
    """
    values, vectors = torch.linalg.eigh(gram)
    order = torch.arange(len(values) - 1, -1, -1)[:count]
    variance = values[order].clamp(min=0)
    position = vectors[:, order] * variance.sqrt()
    position = position * torch.where(position[-1] < 0, -1.0, 1.0)
    total = values.clamp(min=0).sum().clamp(min=torch.finfo(torch.float64).tiny)
    missing = count - len(order)
    return (
        np.pad(position.numpy(), ((0, 0), (0, missing))),
        np.pad((variance / total).numpy(), (0, missing)),
    )


def principal_plane(
    points: Float[Tensor, "step point d"],
) -> tuple[Float[Tensor, "step 2 point"], Float[Tensor, "step 2"]]:
    """The first two principal components of points at every step, and their shares of variance.

    The arbitrary sign of each component agrees with the step before. Shares of coinciding points
    are NaN.

    >>> import torch
    >>> square = torch.tensor([[[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]]).double()
    >>> principal_plane(square)[1]
    tensor([[0.5000, 0.5000]], dtype=torch.float64)
    """
    centred = points - points.mean(1, keepdim=True)
    U, S, _ = torch.linalg.svd(centred, full_matrices=False)
    missing = max(0, 2 - S.shape[-1])
    U = torch.nn.functional.pad(U, (0, missing))
    S = torch.nn.functional.pad(S, (0, missing))
    plane = (U[..., :2] * S[:, None, :2]).transpose(1, 2)
    agrees = (plane[1:] * plane[:-1]).sum(-1) >= 0
    sign = torch.where(agrees, 1.0, -1.0).double().cumprod(0)
    plane[1:] *= sign[..., None]
    return plane, S[:, :2].square() / S.square().sum(-1, keepdim=True)


def frequency_plane(
    points: Float[Tensor, "step residue d"], frequency: int
) -> Float[Tensor, "step 2 residue"]:
    """Coordinates in the last step's plane of a frequency, with the cosine as first axis.

    For a frequency k the plane is spanned by u = Σ_x cos(2πkx/n) E_x and v = Σ_x sin(2πkx/n) E_x
    at the last step. The axes are the closest orthonormal pair (the polar factor), so a circle
    stays a circle.

    >>> import torch
    >>> angle = 2 * torch.pi * torch.arange(5).double() / 5
    >>> circle = torch.stack([angle.cos(), angle.sin()], 1)[None]
    >>> torch.allclose(frequency_plane(circle, 1), circle.mT)
    True
    """
    n = points.shape[1]
    angle = 2 * torch.pi * frequency * torch.arange(n).double() / n
    directions = torch.stack([angle.cos(), angle.sin()]) @ points[-1]
    U, _, V = torch.linalg.svd(directions, full_matrices=False)
    centred = points - points.mean(1, keepdim=True)
    return (centred @ (U @ V).T).transpose(1, 2)


def part_plane(
    points: Float[Tensor, "step element d"], basis: Float[Tensor, "element m"]
) -> Float[Tensor, "step 2 element"]:
    """Coordinates in the plane in which a part of the last step's points is widest.

    The part is the projection of the points on the functions in the span of ``basis``, such as
    those of a representation; the plane contains its two largest principal components. The second
    coordinate of a one-dimensional part is 0.

    >>> import torch
    >>> sign = torch.tensor([[1.0], [-1], [1], [-1]]).double() / 2
    >>> part_plane(3 * sign[None], sign).abs().tolist()
    [[[1.5, 1.5, 1.5, 1.5], [0.0, 0.0, 0.0, 0.0]]]
    """
    centred = points - points.mean(1, keepdim=True)
    return (centred @ part_axes(points[-1], basis).T).transpose(1, 2)


def part_axes(
    points: Float[Tensor, "element d"], basis: Float[Tensor, "element m"]
) -> Float[Tensor, "2 d"]:
    """The two orthonormal directions in which a part of the points is widest (see `part_plane`).

    The second is 0 for a one-dimensional part.

    >>> import torch
    >>> sign = torch.tensor([[1.0], [-1], [1], [-1]]).double() / 2
    >>> part_axes(sign @ torch.tensor([[3.0, 4.0]]).double(), sign).round(decimals=3).tolist()
    [[0.6, 0.8], [0.0, 0.0]]
    """
    _, sizes, directions = torch.linalg.svd(basis.mT @ points, full_matrices=False)
    axes = points.new_zeros(2, points.shape[1])
    rank = min(2, int((sizes > 1e-9 * sizes[0]).sum()))
    axes[:rank] = directions[:rank] * directions[:rank].sum(1, keepdim=True).sign()
    return axes


def effective_rank(matrices: Float[Tensor, "step row column"]) -> Float[Tensor, " step"]:
    """exp(−Σ_i q_i ln q_i), q_i = σ_i / Σ σ: the effective number of singular values.

    1 for a single non-zero singular value, the rank if all are equal, 0 for a zero matrix. The
    singular values are the roots of the eigenvalues of the smaller of W Wᵀ and Wᵀ W, in float64.

    Source: Roy and Vetterli 2007, "The effective rank".

    >>> import torch
    >>> effective_rank(torch.stack([torch.eye(3), torch.ones(3, 3), torch.zeros(3, 3)])).round()
    tensor([3., 1., 0.], dtype=torch.float64)
    """
    if matrices.shape[-2] > matrices.shape[-1]:
        matrices = matrices.transpose(-1, -2)
    ranks = []
    for matrix in matrices.double():
        sigma = torch.linalg.eigvalsh(matrix @ matrix.T).clamp(min=0).sqrt()
        share = sigma / sigma.sum().clamp(min=torch.finfo(torch.float64).tiny)
        rank = torch.special.entr(share).sum().exp()
        ranks.append(rank if sigma.sum() > 0 else torch.zeros_like(rank))
    return torch.stack(ranks)
