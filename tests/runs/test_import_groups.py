"""Networks on groups as Chughtai et al. publish them: numbering, split and layout."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mechgrok.errors import UserError
from mechgrok.exchange.importing import import_run
from mechgrok.exchange.importing.groups import places
from mechgrok.runs import Run
from mechgrok.tasks.groups.families import named

#: The folder ``rep_theory/batch_experiments`` of their repository.
PUBLISHED = Path(
    os.environ.get(
        "MECHGROK_REP_THEORY",
        Path(__file__).parents[2].parent / "shared" / "peers" / "rep_theory",
    )
)
NETWORKS = ("S5_MLP_seed2", "S5_T_seed2", "A5_MLP_seed1", "D59_MLP_seed1", "C113_MLP_seed1")


def config(**fields: Any) -> dict[str, Any]:
    usual = {"lr": 0.001, "weight_decay": 1, "betas": [0.9, 0.98], "model": "OneLayerMLP"}
    usual |= {"group": "SymmetricGroup", "group_parameter": 3, "frac_train": 0.4, "seed": 2}
    return usual | fields


def written(folder: Path, n: int = 6, **fields: Any) -> Path:
    """A network with random weights as theirs are saved."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"W_x": (n, 4), "W_y": (n, 4), "W": (8, 5), "W_U": (5, n)}
    state = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    torch.save(state, folder / "model.pt")
    (folder / "cfg.json").write_text(json.dumps(config(**fields)))
    return folder / "model.pt"


def test_it_computes_what_theirs_does_on_elements_of_the_same_name(tmp_path: Path) -> None:
    path = written(tmp_path)
    model = import_run([path], tmp_path / "run").model(0)
    theirs = torch.load(path, weights_only=True)
    place = torch.from_numpy(places("S3"))
    a, b = torch.cartesian_prod(torch.arange(6), torch.arange(6)).T
    hidden = torch.relu(torch.cat([theirs["W_x"][a], theirs["W_y"][b]], 1) @ theirs["W"])
    ours = model(torch.stack([place[a], place[b]], 1))
    torch.testing.assert_close(ours[:, place], hidden @ theirs["W_U"])


def test_sympy_s_order_is_another_one_of_the_same_elements() -> None:
    from sympy.combinatorics import Permutation

    group, place = named("S4"), places("S4")
    assert sorted(place.tolist()) == list(range(24))
    assert place.tolist() != list(range(24))
    first, second = (
        Permutation([int(image) - 1 for image in group.elements[at]]) for at in (9, 14)
    )
    both = "".join(str(image + 1) for image in (first * second).array_form)
    assert group.elements[group.table[9, 14]] == both


def test_even_permutations_and_dihedral_groups_have_places_too() -> None:
    assert sorted(places("A5").tolist()) == list(range(60))
    assert (places("D7") == np.arange(14)).all()


def test_the_split_and_the_settings_are_theirs(tmp_path: Path) -> None:
    run = import_run([written(tmp_path)], tmp_path / "run")
    generator = torch.Generator().manual_seed(2)
    theirs = torch.randperm(36, generator=generator)[: int(0.4 * 36)]
    place = places("S3")
    expected = {(place[row // 6], place[row % 6]) for row in theirs.tolist()}
    assert {tuple(pair) for pair in run.task.train.inputs.tolist()} == expected
    origin = run.config.origin
    assert origin is not None
    assert origin.split == "file"  # type: ignore[union-attr]
    assert origin.known["betas"] == [0.9, 0.98]  # type: ignore[union-attr]
    assert run.task.group == "S3"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"group": "MonsterGroup"}, "MonsterGroup"),
        ({"group": "AlternatingGroup", "group_parameter": 4}, "AlternatingGroup"),
        ({"group_parameter": "3"}, "3"),
        ({"group_parameter": 9}, "5,040"),
        ({"group_parameter": 4}, "6 .*tokens"),
        ({"frac_train": 2.0}, "2"),
        ({"frac_train": -1.0}, "-1"),
        ({"lr": "fast"}, "'fast'"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, fields: dict, complaint: str) -> None:
    path = written(tmp_path, **fields)
    with pytest.raises(UserError, match=complaint):
        import_run([path], tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"group": 1}', "[" * 10_000])
def test_a_cfg_json_that_is_not_theirs_tells_nothing(tmp_path: Path, text: str) -> None:
    path = written(tmp_path)
    (tmp_path / "cfg.json").write_text(text)
    run = import_run([path], tmp_path / "run", task={"name": "group", "group": "S3"})
    assert "task.pairs" not in run.config.origin.assumed  # type: ignore[union-attr]


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="no published networks beside the checkout")
@pytest.mark.parametrize("name", NETWORKS)
def test_published_networks_have_the_losses_that_are_published(name: str, tmp_path: Path) -> None:
    told = json.loads((PUBLISHED / name / "summary_metrics.json").read_text())
    run: Run = import_run([PUBLISHED / name / "model.pt"], tmp_path / "run")
    row = run.metrics.iloc[-1]
    assert row.train_accuracy == pytest.approx(told["train_acc"])
    assert row.test_accuracy == pytest.approx(told["test_acc"])
    assert row.train_loss == pytest.approx(told["train_loss"], rel=1e-3)
    assert row.test_loss == pytest.approx(told["test_loss"], rel=1e-3)
