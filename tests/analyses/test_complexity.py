"""Regions are counted where kinks are; sizes and dimensions are those of what is known."""

import bz2
from pathlib import Path

import numpy as np
import pytest
import torch

from mechgrok.analyses import complexity
from mechgrok.analyses.measures.complexity import (
    coarsest,
    compressed_size,
    cross_polytope,
    local_complexity,
    participation_ratio,
    straddling,
    truncated,
)
from mechgrok.errors import UserError
from mechgrok.models import make_model
from mechgrok.models.config import MLPConfig
from mechgrok.runs import Run
from mechgrok.tasks import make_task
from tests.analyses.handmade import run_of


def test_vertices_are_as_far_as_the_radius_and_at_right_angles() -> None:
    vertices = 0.5 * cross_polytope(9, 4, torch.Generator().manual_seed(0))
    assert vertices.shape == (8, 9)
    assert torch.allclose(vertices.norm(dim=1), torch.full((8,), 0.5, dtype=torch.float64))
    assert torch.allclose(vertices.sum(0), torch.zeros(9, dtype=torch.float64))
    wanted = 0.25 * torch.eye(4, dtype=torch.float64)
    assert torch.allclose(vertices[:4] @ vertices[:4].T, wanted)
    assert len(cross_polytope(2, 4, torch.Generator().manual_seed(0))) == 4


def vector_model(weight: torch.Tensor) -> torch.nn.Module:
    """x → ReLU(x W_in), with sparse parity's inputs of as many numbers as W_in has rows."""
    task = make_task("parity", n=len(weight), k=1, samples=4)
    config = MLPConfig(d_model=None, d_mlp=weight.shape[1])
    model = make_model(config, task)
    with torch.no_grad():
        model.W_in.copy_(weight)
    return model


def test_a_neuron_counts_where_its_kink_is_nearer_than_the_radius() -> None:
    """With a vertex along every axis, x₁ > 0 is seen to change where |x₁| < r, and only there."""
    model = vector_model(torch.tensor([[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]))
    axes = torch.cat([torch.eye(3), -torch.eye(3)])
    inputs = torch.tensor([[0.05, 5.0, 1.0], [-0.05, 0.0, 9.0], [0.3, 0.0, 0.0], [-2.0, 1.0, 1.0]])
    hooks = ["blocks.0.mlp.hook_pre"]
    for radius, wanted in ((0.1, [2, 2, 0, 0]), (0.5, [2, 2, 2, 0]), (3.0, [2, 2, 2, 2])):
        counts = local_complexity(model, inputs, hooks, radius * axes)  # type: ignore[arg-type]
        assert counts[:, 0].tolist() == wanted


def test_neurons_that_are_on_or_off_everywhere_do_not_count() -> None:
    pre = torch.tensor([[[1.0, -1.0, 1.0], [2.0, -2.0, -1.0]], [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]])
    assert straddling(pre).tolist() == [1, 2]


def test_relative_regions_know_no_scale_of_the_embedding(tmp_path: Path) -> None:
    """W_E twice as large and W_in half as large is the same network, its folds as near."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"W_E": (7, 9), "W_in": (9, 8), "W_out": (8, 9), "W_U": (9, 7)}
    weights = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    scaled = dict(weights, W_E=8 * weights["W_E"], W_in=weights["W_in"] / 8)
    model = {"kind": "mlp", "d_model": 9, "d_mlp": 8}
    counts = {}
    for scale in ("relative", "absolute"):
        found = []
        for name, each in (("one", weights), ("eight", scaled)):
            path = tmp_path / f"{scale}-{name}"
            run = run_of(path, each, model, {"name": "add", "p": 7})
            measured = complexity.measure(run, scale=scale, radius=0.3)  # type: ignore[arg-type]
            found.append(measured.local_complexity.to_numpy().tolist())
        counts[scale] = found
    assert counts["relative"][0] == counts["relative"][1]
    assert counts["absolute"][0] > counts["absolute"][1]


def test_bins_are_the_widest_that_are_accepted() -> None:
    weights = {"w": [torch.tensor([1.0, -0.6, 0.31])]}

    def accepts(rounded: dict[str, torch.Tensor]) -> bool:
        return bool((rounded["w"] - weights["w"][0]).abs().max() < 0.1)

    found = coarsest(weights, accepts)  # type: ignore[arg-type]
    assert found is not None
    width, _ = found
    for wider in width * 2 ** (np.arange(1, 12) / 2):
        rounded = (weights["w"][0] / wider).round() * wider
        assert wider > 2.0001 or not accepts({"w": rounded})
    assert coarsest(weights, lambda rounded: False) is None


def test_size_is_that_of_the_numbers_after_bzip2() -> None:
    small = np.array([0, 1, -1, 127])
    assert compressed_size([small]) == len(bz2.compress(small.astype(np.int8).tobytes()))
    large = np.array([0, 1, -1, 128])
    assert compressed_size([large]) == len(bz2.compress(large.astype(np.int16).tobytes()))
    noise = np.random.default_rng(0).integers(-100, 100, 5000)
    assert compressed_size([np.zeros(5000, dtype=int)]) < compressed_size([noise]) / 50


@pytest.mark.parametrize("shape", [(20, 30), (3, 20, 30)])
def test_a_weight_of_low_rank_is_the_product_of_its_factors(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(*shape[:-1], 2, generator=generator)
    weight = left @ torch.randn(*shape[:-2], 2, shape[-1], generator=generator)
    factors = truncated(weight, 0.999)
    assert [factor.shape[-2:] for factor in factors] == [(20, 2), (2, 30)]
    assert torch.allclose(factors[0] @ factors[1], weight, atol=1e-4)


def test_rounding_costs_no_more_than_it_may(tiny_run: Run) -> None:
    task = tiny_run.task
    sizes = []
    for epsilon in (0.01, 1.0):
        measured = complexity.measure(tiny_run, steps=[60], epsilon=epsilon)
        width = float(measured.bin_width[0])
        model = tiny_run.model(60)
        with torch.no_grad():
            before = float(task.loss(model(task.train.inputs), task.train.labels))
            for weight in model.parameters():
                weight.copy_((weight / width).round() * width)
            after = float(task.loss(model(task.train.inputs), task.train.labels))
        assert after <= before + epsilon
        sizes.append(float(measured.compressed_size[0]))
    assert sizes[0] > sizes[1]


def test_low_rank_is_never_larger_than_rounding_alone(tiny_transformer_run: Run) -> None:
    rounded = complexity.measure(tiny_transformer_run, steps=[40])
    both = complexity.measure(tiny_transformer_run, steps=[40], compression="low-rank")
    assert float(both.compressed_size[0]) <= float(rounded.compressed_size[0])


def test_participation_counts_directions_by_their_variance() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(20_000, 6, generator=generator)
    assert participation_ratio(points) == pytest.approx(6, rel=0.01)
    assert participation_ratio(points * torch.tensor([1, 1, 1, 0, 0, 0])) == pytest.approx(
        3, rel=0.01
    )
    unequal = points * torch.tensor([3.0, 1, 0, 0, 0, 0])
    assert participation_ratio(unequal) == pytest.approx(100 / 82, rel=0.01)
    assert participation_ratio(points[:40]) == pytest.approx(participation_ratio(points[:40].T.T))


@pytest.mark.parametrize("name", ["masked_run", "tiny_transformer_run", "deep_run"])
def test_ranks_are_those_of_singular_values(name: str, request: pytest.FixtureRequest) -> None:
    run: Run = request.getfixturevalue(name)
    measured = complexity.measure(run, steps=[run.steps[-1]])
    for weight in measured.weight.to_numpy():
        matrix = run.wiring.matrix(weight, run.weights(weight, [run.steps[-1]]))[0].double()
        share = torch.linalg.svdvals(matrix)
        share = share / share.sum()
        wanted = float(torch.special.entr(share).sum().exp())
        assert float(measured.effective_rank.sel(weight=weight)[0]) == pytest.approx(
            wanted, rel=1e-3
        )
    layers = [layer.group for layer in run.wiring.hidden]
    assert measured.layer.to_numpy().tolist() == layers
    assert (measured.local_complexity <= measured.neurons).all()


def test_without_relus_there_are_no_linear_regions(tmp_path: Path) -> None:
    weights = {"W_in": torch.randn(7, 8), "W_out": torch.randn(8, 7)}
    model = {"kind": "mlp", "d_model": None, "d_mlp": 8, "act": "quadratic"}
    measured = complexity.measure(run_of(tmp_path / "run", weights, model, {"name": "add", "p": 7}))
    assert "local_complexity" not in measured
    assert "change sign" not in complexity.finding(measured)
    figure = complexity.draw({"run": measured})
    assert any("ReLUs" in note.text for note in figure.layout.annotations)


@pytest.mark.parametrize(
    ("given", "words"),
    [({"radius": 0.0}, "radius = 0"), ({"examples": 0}, "examples = 0")],
)
def test_numbers_out_of_range_are_refused(tiny_run: Run, given: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        complexity.measure(tiny_run, **given)


def test_the_figure_and_the_words(tiny_run: Run) -> None:
    measured = complexity.measure(tiny_run, checkpoints=3)
    assert "compressed size" in complexity.finding(measured)
    assert f"(3 of {len(tiny_run.steps)} checkpoints)" in complexity.finding(measured)
    figure = complexity.draw({"a": measured, "b": measured})
    curves = [trace for trace in figure.data if trace.hovertemplate]
    assert len(curves) == 2 * (1 + 2 + 1 + 1 + measured.sizes["weight"])
