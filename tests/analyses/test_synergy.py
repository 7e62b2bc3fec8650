"""O-information has its closed form, and groups that have none are left out."""

import numpy as np
import pytest
import torch
from torch import Tensor

from mechgrok.analyses import synergy
from mechgrok.errors import UserError
from mechgrok.runs import Run


def entropy(covariance: Tensor) -> float:
    """½ ln det(2πe Σ)."""
    return float((2 * torch.pi * torch.e * covariance).det().log() / 2)


def without(covariance: Tensor, member: int) -> Tensor:
    kept = [at for at in range(len(covariance)) if at != member]
    return covariance[kept][:, kept]


@pytest.mark.parametrize("size", [3, 5])
def test_it_is_the_difference_of_total_and_dual_total_correlation(size: int) -> None:
    generator = torch.Generator().manual_seed(size)
    factors = torch.randn(size, 8, generator=generator, dtype=torch.float64)
    covariance = factors @ factors.T
    scale = covariance.diagonal().rsqrt()
    joint = entropy(covariance)
    total = sum(entropy(covariance[j : j + 1, j : j + 1]) for j in range(size)) - joint
    dual = joint - sum(joint - entropy(without(covariance, j)) for j in range(size))
    found_total, omega = synergy.information(covariance * scale * scale[:, None])
    assert float(found_total) == pytest.approx(total)
    assert float(omega) == pytest.approx(total - dual)


@pytest.mark.parametrize("r", [0.0, 0.3, 0.8])
def test_one_common_cause_is_redundant(r: float) -> None:
    """For three variables of equal correlation r, det R = (1 − r)² (1 + 2r), and a pair's is
    1 − r²."""
    one = torch.eye(3, dtype=torch.float64)
    R = r + (1 - r) * one
    _, omega = synergy.information(R)
    det = (1 - r) ** 2 * (1 + 2 * r)
    wanted = np.log(det) / 2 - 3 / 2 * np.log(1 - r**2)
    assert float(omega) == pytest.approx(wanted, abs=1e-12)
    assert float(omega) >= 0


def test_a_sum_of_two_is_synergistic() -> None:
    """z = (x + y + noise) / s: Ω = I(x; z) + I(y; z) − I(x, y; z) < 0."""
    for noise in (0.1, 1.0, 10.0):
        rho = 1 / (2 + noise) ** 0.5
        R = torch.eye(3, dtype=torch.float64)
        R[2, :2] = R[:2, 2] = rho
        _, omega = synergy.information(R)
        wanted = -np.log(1 - rho**2) + np.log(1 - 2 * rho**2) / 2
        assert float(omega) == pytest.approx(wanted)
        assert float(omega) < 0


def test_dead_and_doubled_neurons_are_left_out() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(500, 3, generator=generator)
    layer = torch.cat([x, x[:, :1], torch.full((500, 1), 0.7)], 1)  # a double, and a constant
    groups = torch.tensor([[0, 1, 2], [0, 1, 3], [0, 1, 4]])
    found = synergy._summary(layer, groups)
    assert found["measured"] == pytest.approx(1 / 3)
    assert abs(found["o_information"]) < 0.01
    alone = synergy._summary(layer, groups[1:])
    assert alone["measured"] == 0
    assert np.isnan(alone["o_information"])


def test_a_run_is_measured_on_the_same_groups_at_every_step(tiny_run: Run) -> None:
    measured = synergy.measure(tiny_run, groups=20)
    later = synergy.measure(tiny_run, groups=20, steps=[60])
    assert float(measured.o_information.sel(step=60)) == float(later.o_information[0])
    np.testing.assert_allclose(
        measured.o_information, measured.redundancy - measured.synergy, atol=1e-12
    )
    assert "Ω of 3 neurons" in synergy.finding(measured)
    assert synergy.draw({"a": measured, "b": later}).data
    with pytest.raises(UserError, match="size = 9"):
        synergy.measure(tiny_run, size=9)
