"""The commutator of two gradient steps is that of their Hessians, and its plane is the path's."""

import numpy as np
import pytest
import torch

from mechgrok.analyses import commutator
from mechgrok.errors import UserError
from mechgrok.runs import Run


def test_on_quadratic_losses_it_is_the_closed_form() -> None:
    """For ½ (w − c)ᵀ H (w − c), θ_AB − θ_BA = η² (H_B g_A − H_A g_B), at any η."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    (A, B), (a, b), w = ((m := normal(5, 5)) @ m.T for _ in range(2)), normal(2, 5), normal(5)
    for rate in (1e-3, 0.5):
        found, norms = commutator.commutator(
            lambda at: A @ (at - a), lambda at: B @ (at - b), w, rate
        )
        at_a, at_b = A @ (w - a), B @ (w - b)
        torch.testing.assert_close(found, rate**2 * (B @ at_a - A @ at_b), rtol=1e-9, atol=1e-12)
        assert norms == pytest.approx((float(at_a.norm()), float(at_b.norm())))
    # Two losses with the same Hessian and minimum commute.
    same, _ = commutator.commutator(lambda at: A @ (at - a), lambda at: 3 * A @ (at - a), w, 0.1)
    assert float(same.norm()) < 1e-12


def test_a_run_has_the_commutator_of_its_two_orders(tiny_run: Run) -> None:
    measured = commutator.measure(tiny_run, steps=[20, 60], pairs=1, batch_size=7)
    (a, b), *_ = commutator._batches(tiny_run, 1, 7, 0)
    rate = tiny_run.config.recipe.learning_rate
    ends = []
    for order in ((a, b), (b, a)):
        model = tiny_run.model(60).double()
        weights, steps = list(model.parameters()), []
        for inputs, labels in order:
            slopes = torch.autograd.grad(tiny_run.task.loss(model(inputs), labels), weights)
            steps.append(float(torch.cat([slope.flatten() for slope in slopes]).norm()))
            with torch.no_grad():
                for weight, slope in zip(weights, slopes, strict=True):
                    weight -= rate * slope
        ends.append((torch.cat([w.detach().flatten() for w in weights]), steps[0]))
    (ab, norm_a), (ba, norm_b) = ends
    wanted = float((ab - ba).norm()) / (rate**2 * norm_a * norm_b)
    assert float(measured.defect.sel(step=60)) == pytest.approx(wanted, rel=1e-4)
    assert float(measured.gradient_norm.sel(step=60)) == pytest.approx((norm_a + norm_b) / 2)
    np.testing.assert_array_equal(measured.defect, measured.defect_of[:, 0])


def test_the_plane_is_that_of_the_paths_principal_components(tiny_run: Run) -> None:
    plane = commutator._plane(tiny_run)
    torch.testing.assert_close(plane @ plane.T, torch.eye(2, dtype=torch.float64))
    names = tiny_run.weight_names
    path = torch.cat([tiny_run.weights(name).flatten(1) for name in names], 1).double()
    centred = path - path.mean(0)
    inside = float((centred @ plane.T).square().sum() / centred.square().sum())
    from mechgrok.analyses import trajectory

    explained = trajectory.measure(tiny_run).explained
    assert inside == pytest.approx(float(explained[:2].sum()), rel=1e-5)
    measured = commutator.measure(tiny_run)
    assert ((measured.inside >= 0) & (measured.inside <= 1)).all()
    assert measured.attrs["chance"] == pytest.approx(2 / tiny_run.n_parameters)


def test_a_pruned_weight_does_not_move(masked_run: Run) -> None:
    plane = commutator._plane(masked_run)
    mask = masked_run.checkpoint(-1).mask
    assert mask is not None
    pruned = torch.cat([~mask[name].flatten() for name in masked_run.weight_names])
    assert float(plane[:, pruned].abs().max()) < 1e-12


def test_the_figure_and_the_finding(tiny_run: Run, deep_run: Run) -> None:
    measured = commutator.measure(tiny_run, pairs=2)
    assert "at η = 0.001" in commutator.finding(measured)
    other = commutator.measure(deep_run, pairs=2)  # vectors, and another loss
    assert commutator.draw({"a": measured, "b": other}).data
    with pytest.raises(UserError, match="pairs = 0"):
        commutator.measure(tiny_run, pairs=0)
