"""The tangent kernel is that of the definition, constant where a network is linear or lazy."""

import numpy as np
import pytest
import torch
from torch import Tensor

from mechgrok.analyses import kernel
from mechgrok.errors import UserError
from mechgrok.runs import Run


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def two_layers(weights: dict[str, Tensor], inputs: Tensor) -> Tensor:
    return torch.tanh(inputs @ weights["W_in"]) @ weights["W_out"]


@pytest.mark.parametrize("fixture", ["tiny_run", "tiny_transformer_run", "group_run", "deep_run"])
def test_the_kernel_is_that_of_all_gradients(fixture: str, request: pytest.FixtureRequest) -> None:
    run: Run = request.getfixturevalue(fixture)
    model, inputs = run.model(-1), run.task.test.inputs[:3]
    probes = torch.eye(run.task.d_output)
    found = kernel.tangent_kernel(*kernel._outputs_of(model, folded=False), inputs, probes)
    parameters = list(model.parameters())
    rows = []
    for output in model(inputs).flatten():
        slopes = torch.autograd.grad(output, parameters, retain_graph=True, allow_unused=True)
        parts = zip(slopes, parameters, strict=True)
        flat = [(torch.zeros_like(w) if s is None else s).flatten() for s, w in parts]
        rows.append(torch.cat(flat))
    J = torch.stack(rows).unflatten(0, (3, run.task.d_output)).double()
    wanted = torch.einsum("icp,jcp->ij", J, J) / run.task.d_output
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_a_model_that_is_linear_in_its_weights_has_a_constant_kernel() -> None:
    def linear(weights: dict[str, Tensor], inputs: Tensor) -> Tensor:
        return torch.tanh(inputs) @ weights["W"]

    x, probes = normal(8, 3), torch.eye(2, dtype=torch.float64)
    first, later = (
        kernel.tangent_kernel(linear, {"W": normal(3, 2, seed=seed)}, x, probes) for seed in (1, 2)
    )
    torch.testing.assert_close(first, later)
    assert kernel.alignment(first, later) == pytest.approx(1)


def test_a_scaled_output_is_lazy() -> None:
    """Trained to the same targets as α (f(θ) − f(θ₀)), a network's kernel changes ever less."""
    x, y, probes = normal(10, 3), normal(10, 2, seed=5), torch.eye(2, dtype=torch.float64)
    changes = []
    for alpha in (1.0, 10.0, 100.0):
        start = {"W_in": normal(3, 6, seed=1), "W_out": normal(6, 2, seed=2)}
        first, weights = kernel.tangent_kernel(two_layers, start, x, probes), dict(start)
        for _ in range(400):
            leaves = {name: w.detach().requires_grad_() for name, w in weights.items()}
            f = alpha * (two_layers(leaves, x) - two_layers(start, x))
            slopes = torch.autograd.grad((f - y).square().sum(), list(leaves.values()))
            rate = 5e-3 / alpha**2
            weights = {
                n: (w - rate * s).detach() for (n, w), s in zip(leaves.items(), slopes, strict=True)
            }
        last = kernel.tangent_kernel(two_layers, weights, x, probes)
        changes.append(1 - kernel.alignment(first, last))
    assert changes[0] > 1e-3
    assert changes[0] > 10 * changes[1] > 100 * changes[2] > 0


def test_directions_estimate_the_mean_over_outputs() -> None:
    weights = {"W_in": normal(3, 20, seed=1), "W_out": normal(20, 40, seed=2)}
    x = normal(12, 3)
    whole = kernel.tangent_kernel(two_layers, weights, x, kernel._probes(40, 40, 0).double())
    some = kernel.tangent_kernel(two_layers, weights, x, kernel._probes(40, 10, 0).double())
    assert float((some - whole).norm() / whole.norm()) < 0.15
    probes = kernel._probes(40, 10, 0)
    torch.testing.assert_close(probes @ probes.T, torch.eye(10))


def test_the_linearized_network_is_the_solution_of_ridge_regression() -> None:
    weights = {"W_in": normal(3, 6, seed=1), "W_out": normal(6, 2, seed=2)}
    x, further, y = normal(7, 3), normal(4, 3, seed=3), normal(7, 2, seed=4)
    found = kernel.kernel_regression(two_layers, weights, x, y, further)

    def jacobian(inputs: Tensor) -> Tensor:
        parts = torch.func.jacrev(two_layers)(weights, inputs)
        return torch.cat([part.flatten(0, 1).flatten(1) for part in parts.values()], 1)

    J, at_further = jacobian(x), jacobian(further)
    K = J @ J.T
    # The mean diagonal is estimated from one vector of signs.
    signs = torch.randint(0, 2, y.shape, generator=torch.Generator().manual_seed(0)) * 2.0 - 1
    diagonal = float(signs.double().flatten() @ K @ signs.double().flatten()) / len(K)
    solution = torch.linalg.solve(K + 10 * diagonal * torch.eye(len(K)), y.flatten())
    wanted = (at_further @ J.T @ solution).view(4, 2)
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-5)


def test_a_run_has_a_course_of_its_kernel(tiny_run: Run, masked_run: Run) -> None:
    measured = kernel.measure(tiny_run, checkpoints=3, examples=6)
    assert float(measured.cka[0]) == pytest.approx(1)
    assert float(measured.cka[-1]) < 1 - 1e-4
    np.testing.assert_array_equal(measured.train_alignment, measured.alignment.sel(side="train"))
    assert f"(3 of {len(tiny_run.steps)} checkpoints)" in kernel.finding(measured)
    masked = kernel.measure(masked_run, checkpoints=2, examples=6)
    assert kernel.draw({"a": measured, "b": masked}).data
    with pytest.raises(UserError, match="directions = 0"):
        kernel.measure(tiny_run, directions=0)
