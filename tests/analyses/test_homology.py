"""Circles, discs and tori by their holes, in clouds of points and in neurons of one frequency."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from mechgrok.errors import UserError
from mechgrok.exchange.importing import import_run
from mechgrok.runs import Run
from tests.analyses.handmade import handmade_steps
from tests.analyses.test_algorithm import PUBLISHED, SAVED, clock, pizza
from tests.analyses.test_published_run import PUBLISHED as NANDA

pytest.importorskip("gudhi", reason="the extra mechgrok[homology] is not installed")
homology = pytest.importorskip("mechgrok.analyses.homology")
Homology = pytest.importorskip("mechgrok.analyses.measures.homology").Homology

P = 31
A, B = (2 * math.pi * 3 * axis.ravel() / P for axis in np.meshgrid(np.arange(P), np.arange(P)))
CLOUDS = {
    "circle": [np.cos(A + B), np.sin(A + B)],
    "disc": [np.cos(A) + np.cos(B), np.sin(A) + np.sin(B)],
    "torus": [np.cos(A), np.sin(A), np.cos(B), np.sin(B)],
}
BETTI = {"circle": (1, 1, 0), "disc": (1, 0, 0), "torus": (1, 2, 1)}


@pytest.mark.parametrize("noise", [0, 0.05])
@pytest.mark.parametrize("name", CLOUDS)
def test_a_cloud_has_the_betti_numbers_of_its_shape(name: str, noise: float) -> None:
    points = np.stack(CLOUDS[name], 1)
    points = points + noise * np.random.default_rng(0).normal(size=points.shape)
    found = Homology.of(points)
    assert found.betti(0.5) == BETTI[name]
    assert found.shape(0.5) == name


@pytest.mark.parametrize("name", ["circle", "torus"])
def test_scale_place_and_rotation_make_no_difference(name: str) -> None:
    points = np.stack(CLOUDS[name], 1)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(len(points[0]),) * 2))[0]
    moved, found = Homology.of(1e-3 * points @ turn + 7), Homology.of(points)
    # Rounding decides which of equally far points is the next landmark.
    assert moved.loops == pytest.approx(found.loops, abs=1e-6 if name == "circle" else 0.1)
    assert moved.shape(0.5) == found.shape(0.5)


def test_a_circle_lives_from_its_spacing_to_its_widest_triangle() -> None:
    # The loop of n equal points is born at their spacing, 2 sin(π / n), and filled at √3 or above.
    angle = 2 * math.pi * np.arange(30) / 30
    found = Homology.of(np.stack([np.cos(angle), np.sin(angle)], 1))
    assert found.loops[0] == pytest.approx(math.sqrt(3) - 2 * math.sin(math.pi / 30), abs=1e-6)


def test_two_far_clouds_are_two_components_and_a_point_has_no_shape() -> None:
    pair = np.concatenate([np.zeros((10, 2)), np.ones((10, 2))])
    assert Homology.of(pair).betti(0.5) == (2, 0, 0)
    assert Homology.of(np.ones((10, 2))).shape(0.5) == "none"


def test_the_neurons_of_a_pizza_are_a_disc_and_those_of_a_clock_a_torus(tmp_path: Path) -> None:
    disc = homology.measure(pizza(tmp_path / "pizza"), of="preactivations").isel(step=0)
    assert disc["shape"].values.tolist() == ["disc"]
    assert disc.key.values.tolist() == [3]
    assert disc["size"].values.tolist() == [24]
    torus = homology.measure(clock(tmp_path / "clock"), of="preactivations").isel(step=0)
    assert torus["shape"].values.tolist() == ["torus"]
    assert float(torus.void) > 0.5 > float(disc.loop)
    assert [float(disc.planar), float(torus.planar)] == pytest.approx([1, 0.5], abs=1e-5)
    assert float(torus.in_sum) == pytest.approx(0, abs=1e-6)  # cos a + cos b, and no product


def test_only_sums_are_explained_by_the_answer() -> None:
    answer = torch.from_numpy((np.arange(P)[:, None] + np.arange(P)).ravel() % P)
    for name, share in {"circle": 1, "disc": 0, "torus": 0}.items():
        cloud = torch.from_numpy(np.stack(CLOUDS[name], 1))
        assert homology._explained(cloud, answer) == pytest.approx(share, abs=1e-9)


def test_dead_and_small_clusters_are_left_out(tmp_path: Path) -> None:
    nobody = torch.zeros(7, 4), torch.zeros(4, 7)
    run = handmade_steps(tmp_path / "run", [nobody, nobody], name="add", p=7)
    measured = homology.measure(run)
    assert measured.sizes["key"] == 0
    assert np.isnan(measured.loop).all()
    assert "no frequency has 3 live neurons" in homology.finding(measured)
    assert homology.draw({"dead": measured}).data


def test_groups_and_transformers_have_clusters(group_run: Run, tiny_transformer_run: Run) -> None:
    measured = {run.name: homology.measure(run) for run in (group_run, tiny_transformer_run)}
    assert homology.draw(measured).data
    assert "standard" in homology.finding(measured[group_run.name])


def test_a_threshold_is_positive_and_gudhi_is_named_where_missing(
    tiny_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="threshold"):
        homology.measure(tiny_run, threshold=0)
    assert homology.applies(tiny_run) is None
    monkeypatch.setattr(homology, "find_spec", lambda name: None)
    assert "mechgrok[homology]" in str(homology.applies(tiny_run))


@pytest.mark.skipif(not NANDA.is_file(), reason="no published file beside the checkout")
def test_the_published_transformer_has_five_clusters_without_holes(tmp_path: Path) -> None:
    measured = homology.measure(import_run([NANDA], tmp_path / "run")).isel(step=0)
    assert sorted(measured.key.values.tolist()) == [6, 23, 37, 39, 41]
    assert set(measured["shape"].values.tolist()) == {"disc"}


@PUBLISHED
@pytest.mark.parametrize("name", ["p99zdpze5l", "2k4ohj6bhd"])
def test_the_published_pizza_and_clock_have_the_same_shapes(tmp_path: Path, name: str) -> None:
    run = import_run([SAVED / f"model_{name}.pt"], tmp_path / "run")
    assert set(homology.measure(run, of="preactivations")["shape"].values.ravel()) == {"disc"}
