"""Pairs are learned when they are right for good, and lie as far from the training set as said."""

from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import torch

import mechgrok
from mechgrok.analyses import pairs
from mechgrok.runs import Run
from tests.analyses.handmade import run_of


def exact_adder(p: int) -> dict[str, torch.Tensor]:
    """ReLU(a + b − s + 1) for every s; second differences of these tell which sum a + b is."""
    value = torch.arange(p).float()[:, None]
    height = torch.arange(2 * p - 1).float()
    W_in = value.expand(p, 2 * p + 1)
    bias = -(torch.arange(2 * p + 1).float() - 1)
    bump = torch.zeros(2 * p + 1, p)
    for total in height.long().tolist():
        for shift, sign in ((0, 1.0), (1, -2.0), (2, 1.0)):
            bump[total + shift, total % p] += sign
    return {"W_in": W_in, "b_in": bias, "W_out": bump, "b_out": torch.zeros(p)}


def test_a_network_that_adds_has_learned_every_pair_from_the_start(tmp_path: Path) -> None:
    model = {"kind": "mlp", "d_model": None, "d_mlp": 15, "bias": True}
    run = run_of(tmp_path / "adder", exact_adder(7), model, {"name": "add", "p": 7})
    measured = pairs.measure(run)
    assert (measured.learned == 0).all()
    assert (measured.forgotten == 0).all()
    assert float(measured.share_right.min()) == 1


def test_learned_is_right_at_every_later_checkpoint(tiny_run: Run) -> None:
    measured = pairs.measure(tiny_run)
    steps = measured.step.to_numpy()
    inputs, labels = tiny_run.task.examples
    right = np.stack(
        [(tiny_run.model(step)(inputs).argmax(-1) == labels).numpy() for step in steps.tolist()]
    )
    for index in range(len(labels)):
        always = [step for at, step in enumerate(steps) if right[at:, index].all()]
        learned = float(measured.learned[index])
        assert learned == always[0] if always else np.isnan(learned)
    train = tiny_run.task.train_index.numpy()
    shares = measured.share_right.sel(group="train")
    np.testing.assert_allclose(shares, right[:, train].mean(1))


@pytest.mark.parametrize("seed", range(3))
def test_distance_is_the_shortest_way_on_the_torus(seed: int) -> None:
    p = 6
    train = np.random.default_rng(seed).random((p, p)) < 0.1
    train[0, seed] = True
    torus = nx.grid_2d_graph(p, p, periodic=True)
    sources = {(int(a), int(b)) for a, b in zip(*np.nonzero(train), strict=True)}
    wanted = nx.multi_source_dijkstra_path_length(torus, sources)
    distance = pairs.distance_to(train)
    assert {(a, b): distance[a, b] for a in range(p) for b in range(p)} == wanted


def test_support_counts_training_pairs_of_the_same_answer(tiny_run: Run) -> None:
    measured = mechgrok.analyze(tiny_run, "pairs")
    train = measured.answer.to_numpy()[measured.train.to_numpy()]
    for answer, support in zip(
        measured.answer.to_numpy(), measured.support.to_numpy(), strict=True
    ):
        assert support == (train == answer).sum()


def test_the_figure_has_a_picture_of_each_side_and_of_each_run(tiny_run: Run) -> None:
    measured = pairs.measure(tiny_run)
    figure = pairs.draw({"a": measured, "b": measured})
    heat = [trace for trace in figure.data if trace.type == "heatmap"]
    assert len(heat) == 4
    drawn = sum(int(np.isfinite(np.asarray(trace.z, dtype=float)).sum()) for trace in heat[:2])
    learned = np.isfinite(measured.learned.to_numpy())
    off_diagonal = (measured.a != measured.b).to_numpy()
    twice = off_diagonal & bool(measured.attrs["unordered"])
    assert drawn == (learned * (1 + twice)).sum()


def test_a_run_that_learns_few_pairs_is_told_how_few(tiny_run: Run) -> None:
    measured = pairs.measure(tiny_run)
    measured["learned"] = measured.learned.where(measured.train)
    figure = pairs.draw({"tiny": measured})
    n_test = int((~measured.train).sum())
    assert f"0 of {n_test:,} test pairs" in pairs.finding(measured)
    notes = [note.text.replace("<br>", " ") for note in figure.layout.annotations]
    assert sum("half of its test pairs learned" in note for note in notes) == 2


def test_pairs_of_a_group_have_no_distance_and_are_called_by_name(group_run: Run) -> None:
    measured = pairs.measure(group_run)
    assert "distance" not in measured
    assert measured.group.values.tolist() == ["train", "test"]
    task = group_run.task
    assert measured.element.values.tolist() == list(task.structure.elements)
    table = task.structure.table
    assert (measured.answer.to_numpy() == table[measured.a, measured.b]).all()
    figure = pairs.draw({"group": measured})
    pictures = [trace for trace in figure.data if trace.type == "heatmap"]
    assert list(pictures[0].x) == list(task.structure.elements)
    assert "distance" not in pairs.finding(measured)


def test_a_cyclic_group_has_the_distances_of_its_residues(tmp_path: Path) -> None:
    model = {"kind": "mlp", "d_model": None, "d_mlp": 15, "bias": True}
    of = [
        pairs.measure(run_of(tmp_path / str(task["name"]), exact_adder(7), model, task))
        for task in (
            {"name": "add", "p": 7, "pairs": "ordered"},
            {"name": "group", "group": "C7"},
        )
    ]
    assert of[1].equals(of[0])
