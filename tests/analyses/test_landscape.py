"""Curvature is that of the full Hessian; lines and planes hold the loss of the networks there."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import mechgrok
from mechgrok.analyses import landscape
from mechgrok.analyses.measures.curvature import derivatives, flat, hutchinson, lanczos
from mechgrok.analyses.measures.slices import barrier, between, filter_normalized
from mechgrok.errors import UserError
from mechgrok.models import load_weights, make_model, raw_weights
from mechgrok.runs import Run
from tests.analyses.handmade import run_of


def full_hessian(run: Run, step: int) -> Tensor:
    """∂²L/∂θ² of the training loss, entry by entry, in float64."""
    model = run.model(step).double()
    weights = list(raw_weights(model).values())
    inputs, labels = run.task.train
    if inputs.is_floating_point():
        inputs = inputs.double()
    gradient, product = derivatives(run.task.loss(model(inputs), labels), weights)
    return torch.stack([product(row) for row in torch.eye(len(gradient), dtype=torch.float64)])


def test_products_agree_with_differences_of_gradients(tiny_run: Run) -> None:
    hessian = full_hessian(tiny_run, 20)
    assert torch.allclose(hessian, hessian.T, atol=1e-12)
    model = tiny_run.model(20).double()
    weights = list(raw_weights(model).values())
    direction = torch.randn(len(hessian), generator=torch.Generator().manual_seed(1)).double()
    inputs, labels = tiny_run.task.train
    slopes = []
    for step in (1e-5, -2e-5):
        with torch.no_grad():
            for weight, move in zip(
                weights, direction.split([w.numel() for w in weights]), strict=True
            ):
                weight += step * move.view_as(weight)
        loss = tiny_run.task.loss(model(inputs), labels)
        slopes.append(flat(torch.autograd.grad(loss, weights)))
    assert torch.allclose((slopes[0] - slopes[1]) / 2e-5, hessian @ direction, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", ["tiny_run", "deep_run"])
def test_eigenvalues_and_trace_are_those_of_the_full_hessian(
    name: str, request: pytest.FixtureRequest
) -> None:
    run: Run = request.getfixturevalue(name)
    step = run.steps[-1]
    hessian = full_hessian(run, step)
    eigenvalues = torch.linalg.eigvalsh(hessian).flip(0)
    measured = landscape.measure(run, steps=[step], iterations=80, probes=400, planes=0)
    found = measured.eigenvalue[0].to_numpy()
    assert found == pytest.approx(eigenvalues[:5].numpy(), rel=1e-3)
    assert float(measured.residual[0]) < 1e-3 * found[0]
    assert float(measured.lowest[0]) == pytest.approx(float(eigenvalues[-1]), rel=0.02)
    error = float(measured.trace_error[0])
    beside = float((hessian - hessian.diag().diag()).square().sum())
    assert error == pytest.approx((2 * beside / 400) ** 0.5, rel=0.15)
    assert float(measured.trace[0]) == pytest.approx(float(eigenvalues.sum()), abs=4 * error)


def test_the_spectrum_of_a_quadratic_is_exact() -> None:
    generator = torch.Generator().manual_seed(0)
    rotation, _ = torch.linalg.qr(torch.randn(12, 12, generator=generator, dtype=torch.float64))
    eigenvalues = torch.linspace(-3, 8, 12, dtype=torch.float64)
    matrix = rotation @ eigenvalues.diag() @ rotation.T
    theta = torch.randn(12, generator=generator, dtype=torch.float64, requires_grad=True)
    gradient, product = derivatives(theta @ matrix @ theta / 2, [theta])
    assert torch.allclose(gradient, matrix @ theta)
    values, residuals = lanczos(product, torch.ones_like(theta.detach()), 12)
    assert torch.allclose(values, eigenvalues.flip(0), atol=1e-9)
    assert float(residuals.max()) < 1e-9
    estimate, error = hutchinson(product, gradient, 4000, generator)
    assert estimate == pytest.approx(float(eigenvalues.sum()), abs=4 * error)
    # One probe's variance is twice the sum of the squares beside the diagonal.
    beside = float((matrix - matrix.diag().diag()).square().sum())
    assert error == pytest.approx((2 * beside / 4000) ** 0.5, rel=0.1)


def test_a_loss_that_is_linear_in_the_weights_is_not_curved() -> None:
    theta = torch.ones(3, requires_grad=True)
    _, product = derivatives((2 * theta).sum(), [theta])
    values, _ = lanczos(product, torch.ones(3), 3)
    assert values.tolist() == [0]


def test_no_step_as_long_raises_the_loss_more_than_uphill(tiny_run: Run) -> None:
    step, radius = 20, 1e-3
    measured = landscape.measure(tiny_run, steps=[step], radius=radius, planes=0, iterations=2)
    model = tiny_run.model(step).double()
    weights = {name: w.detach().clone() for name, w in raw_weights(model).items()}
    inputs, labels = tiny_run.task.train
    gradient, _ = derivatives(
        tiny_run.task.loss(model(inputs), labels), list(raw_weights(model).values())
    )
    rise = float(measured.sharpness[0])
    assert rise == pytest.approx(radius * float(gradient.norm()), rel=0.05)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        before = float(tiny_run.task.loss(model(inputs), labels))
        for _ in range(20):
            drawn = {n: torch.randn(w.shape, generator=generator) for n, w in weights.items()}
            size = float(flat(list(drawn.values())).norm())
            load_weights(model, {n: w + radius * drawn[n] / size for n, w in weights.items()})
            assert float(tiny_run.task.loss(model(inputs), labels)) - before < rise


def test_adaptive_sharpness_knows_no_scale_of_the_weights(tmp_path: Path) -> None:
    """8 W_in and W_out / 8 make the same network: ASAM says so, SAM does not."""
    generator = torch.Generator().manual_seed(0)
    W_in, W_out = (torch.randn(shape, generator=generator) for shape in ((7, 6), (6, 7)))
    model = {"kind": "mlp", "d_model": None, "d_mlp": 6}
    found: dict[str, list[float]] = {"sam": [], "asam": []}
    for factor in (1.0, 8.0):
        weights = {"W_in": factor * W_in, "W_out": W_out / factor}
        run = run_of(tmp_path / f"{factor}", weights, model, {"name": "add", "p": 7})
        for kind in found:
            measured = landscape.measure(run, sharpness=kind, planes=0, iterations=2)  # type: ignore[arg-type]
            found[kind].append(float(measured.sharpness[0]))
    assert found["asam"][0] == pytest.approx(found["asam"][1], rel=1e-3)
    assert found["sam"][1] > 1.5 * found["sam"][0]


def test_a_mask_takes_directions_away(masked_run: Run) -> None:
    step = masked_run.steps[-1]
    hessian = full_hessian(masked_run, step)
    mask = masked_run.mask
    assert mask is not None
    pruned = ~flat([mask[name] for name in raw_weights(masked_run.model(step))])
    assert pruned.any()
    assert not hessian[pruned].any()
    measured = landscape.measure(masked_run, steps=[step], iterations=60, planes=0)
    assert float(measured.eigenvalue[0, 0]) == pytest.approx(
        float(torch.linalg.eigvalsh(hessian)[-1]), rel=1e-3
    )


def test_lines_lead_from_each_network_to_the_end(masked_run: Run, tiny_run: Run) -> None:
    """Also from a dense network to a pruned one: weights are those that are computed with."""
    measured = landscape.measure(tiny_run, to=masked_run.path, planes=0, positions=5, iterations=2)
    assert measured.attrs["line_to"] == f"{masked_run.name} at step {masked_run.steps[-1]}"
    model = make_model(tiny_run.config.model, tiny_run.task)
    end = masked_run.checkpoint(-1).effective_weights
    for step in tiny_run.steps:
        start = tiny_run.checkpoint(step).effective_weights
        for share in (0, 0.25, 1):
            load_weights(
                model, {name: (1 - share) * start[name] + share * end[name] for name in end}
            )
            for side in ("train", "test"):
                inputs, labels = getattr(tiny_run.task, side)
                with torch.no_grad():
                    wanted = float(tiny_run.task.loss(model(inputs), labels))
                found = measured.line.sel(step=step, side=side, position=share)
                assert float(found) == pytest.approx(wanted, rel=1e-4)
    masked = masked_run.model(-1)
    with torch.no_grad():
        outputs = masked(masked_run.task.test.inputs)
    assert float(measured.line_accuracy.sel(side="test")[0, -1]) == float(
        masked_run.task.accuracy(outputs, masked_run.task.test.labels)
    )


def test_networks_that_differ_by_the_order_of_their_neurons_have_a_barrier(tmp_path: Path) -> None:
    base = mechgrok.Run("data/base")
    weights = base.checkpoint(-1).effective_weights
    order = torch.randperm(weights["W_in"].shape[1], generator=torch.Generator().manual_seed(0))
    swapped = dict(weights, W_in=weights["W_in"][:, order], W_out=weights["W_out"][order])
    fields = base.config.model_dump(include={"task", "model"})
    runs = [
        run_of(tmp_path / name, each, fields["model"], fields["task"])
        for name, each in (("a", dict(weights)), ("b", swapped))
    ]
    measured = landscape.measure(runs[0], to=runs[1].path, planes=0, iterations=2)
    ends = measured.line.sel(side="test")[0, [0, -1]]
    assert ends.to_numpy()[0] == pytest.approx(ends.to_numpy()[1], rel=1e-3)
    assert float(measured.barrier.sel(side="test")[0]) > 1
    assert float(measured.error_barrier.sel(side="test")[0]) > 0.5


def test_barriers_from_the_mean_count_a_slope_and_those_above_the_ends_do_not() -> None:
    bump = np.array([0.1, 2.0, 0.1])
    assert barrier(bump, "mean") == pytest.approx(barrier(bump)) == pytest.approx(1.9)
    slope = np.linspace(4, 0, 5)
    assert barrier(slope) == pytest.approx(0)
    assert barrier(slope, "mean") == pytest.approx(2)


def test_a_plane_has_the_network_in_its_middle(tiny_run: Run) -> None:
    measured = landscape.measure(tiny_run, steps=[0, 60], planes=2, resolution=3, iterations=2)
    assert measured.plane_step.to_numpy().tolist() == [0, 60]
    middle = measured.plane.sel(up=0, across=0).rename(plane_step="step")
    at_end = measured.line.sel(position=0)
    assert middle.to_numpy() == pytest.approx(at_end.to_numpy(), rel=1e-5)
    assert not np.allclose(measured.plane.sel(up=0, across=1), measured.plane.sel(up=1, across=0))


def test_planes_of_a_masked_network_lie_inside_its_mask(masked_run: Run) -> None:
    """At each place of a plane the loss is that of the network with its mask on."""
    step = masked_run.steps[-1]
    measured = landscape.measure(masked_run, steps=[step], planes=1, resolution=3, iterations=2)
    saved, mask = masked_run.checkpoint(step), masked_run.mask
    assert mask is not None
    weights, generator = saved.effective_weights, torch.Generator().manual_seed(0)
    right, up = (filter_normalized(weights, masked_run.wiring, generator, mask) for _ in range(2))
    for direction in (right, up):
        for name, kept in mask.items():
            assert not direction[name][~kept].any()
            lengths = [
                torch.linalg.vector_norm(w, dim=-2) for w in (direction[name], weights[name])
            ]
            assert torch.allclose(*lengths, rtol=1e-4)
    model = masked_run.model(step)
    for x in (-1, 1):
        load_weights(model, {name: w + x * right[name] for name, w in weights.items()})
        inputs, labels = masked_run.task.train
        with torch.no_grad():
            wanted = float(masked_run.task.loss(model(inputs), labels))
        found = float(measured.plane.sel(across=x, up=0, side="train")[0])
        assert found == pytest.approx(wanted, rel=1e-4)


def test_half_of_the_way_is_the_mean() -> None:
    half = between({"w": torch.zeros(2)}, {"w": torch.tensor([2.0, 4.0])}, 0.5)
    assert half["w"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"radius": 0.0}, "radius = 0"),
        ({"positions": 2}, "positions = 2 .*3 or more"),
        ({"checkpoints": 0}, "checkpoints = 0"),
    ],
)
def test_numbers_out_of_range_are_refused(tiny_run: Run, given: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        landscape.measure(tiny_run, **given)


def test_lines_join_networks_of_one_shape(tiny_run: Run, deep_run: Run) -> None:
    with pytest.raises(UserError, match=r"W_E .*\(7, 12\)"):
        landscape.measure(tiny_run, to=deep_run.path)


def test_few_checkpoints_are_looked_at_and_it_is_said(tiny_run: Run) -> None:
    measured = landscape.measure(tiny_run, checkpoints=2, planes=2, resolution=3)
    assert measured.step.to_numpy().tolist() == [0, 60]
    assert f"(2 of {len(tiny_run.steps)} checkpoints)" in landscape.finding(measured)
    figure = landscape.draw({"a": measured, "b": measured})
    assert sum(trace.type == "heatmap" for trace in figure.data) == 4
