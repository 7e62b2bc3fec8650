"""Components, planes and ranks of points and matrices whose answers are known."""

import math

import numpy as np
import pytest
import torch

from mechgrok.analyses.measures.geometry import effective_rank, principal_components


def test_a_straight_path_has_one_component() -> None:
    points = torch.arange(5, dtype=torch.float64)[:, None] * torch.tensor([[3.0, 4.0]])
    centred = points - points.mean(0)
    position, explained = principal_components(centred @ centred.T, 2)
    assert explained == pytest.approx([1, 0], abs=1e-12)
    assert position[:, 0] == pytest.approx([-10, -5, 0, 5, 10])


def test_the_effective_rank_of_equal_singular_values_is_their_number() -> None:
    equal = torch.eye(6)[:4] * 3
    one = torch.outer(torch.arange(1.0, 5), torch.ones(6))
    ranks = effective_rank(torch.stack([equal, one, torch.zeros(4, 6)]))
    assert ranks.tolist() == pytest.approx([4, 1, 0], abs=1e-6)


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (6, 6)])
def test_the_effective_rank_agrees_with_the_singular_values(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    matrix = torch.randn(shape, generator=generator)
    sigma = np.linalg.svd(matrix.double().numpy(), compute_uv=False)
    share = sigma / sigma.sum()
    expected = math.exp(-(share * np.log(share)).sum())
    assert effective_rank(matrix[None]).item() == pytest.approx(expected, rel=1e-9)
    turned = matrix[torch.randperm(shape[0], generator=generator)].T * 7
    assert effective_rank(turned[None]).item() == pytest.approx(expected, rel=1e-6)


def test_components_that_no_point_fills_are_0() -> None:
    position, explained = principal_components(torch.zeros(1, 1, dtype=torch.float64), 3)
    assert position.tolist() == [[0, 0, 0]]
    assert explained.tolist() == [0, 0, 0]
