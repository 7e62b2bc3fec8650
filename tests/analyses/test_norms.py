"""Norms of the weights, whole and weight by weight."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mechgrok.analyses import norms
from mechgrok.configuration.run_config import RunConfig
from mechgrok.masks import Mask
from mechgrok.runs import Run
from mechgrok.runs.checkpoint import Checkpoint
from mechgrok.training import create_run


@pytest.fixture
def by_hand(tmp_path: Path) -> Run:
    """One neuron: W_in = [3, −4], W_out = [[1], [2]]ᵀ with half of W_out pruned."""
    config = RunConfig.make(
        task={"name": "add", "p": 2, "pairs": "ordered", "train_fraction": 0.5},
        model={"kind": "mlp", "d_model": None, "d_mlp": 1},
    )
    weights = {"W_in": torch.tensor([[3.0], [-4.0]]), "W_out": torch.tensor([[1.0, 2.0]])}
    mask = Mask({"W_out": torch.tensor([[True, False]])})
    return create_run(tmp_path / "run", config, Checkpoint(0, weights, mask))


def test_norms_of_a_network_worked_out_by_hand(by_hand: Run) -> None:
    found = norms.measure(by_hand).sel(step=0)
    into = found.sel(weight="W_in", state="masked")
    assert (into.l1.item(), into.l2.item(), into.l0.item()) == (7, 5, 2)
    raw, masked = (found.sel(weight="W_out", state=state) for state in ("raw", "masked"))
    assert (raw.l1.item(), raw.l0.item()) == (3, 2)
    assert (masked.l1.item(), masked.l2.item(), masked.l0.item()) == (1, 1, 1)
    assert found.total_l1.sel(state="masked").item() == 8
    assert found.total_l2.sel(state="masked").item() == pytest.approx(np.sqrt(26))
    assert found.total_l0.sel(state="raw").item() == 4


def test_per_parameter_norms_do_not_depend_on_the_size(by_hand: Run) -> None:
    found = norms.measure(by_hand).sel(step=0, weight="W_in", state="raw")
    scaled = {name: norms.per_parameter(found[name], found.n, name) for name in norms.NORMS}
    assert scaled["l1"].item() == 3.5
    assert scaled["l2"].item() == pytest.approx(5 / np.sqrt(2))
    assert scaled["l0"].item() == 1


def test_totals_agree_with_numpy_and_with_the_metrics_of_training(masked_run: Run) -> None:
    found = norms.measure(masked_run).sel(state="masked")
    for step in masked_run.steps:
        saved = masked_run.checkpoint(step)
        assert saved.mask is not None
        flat = np.concatenate(
            [
                (weight * saved.mask[name] if name in saved.mask else weight).numpy().ravel()
                for name, weight in saved.weights.items()
            ]
        ).astype(float)
        at = found.sel(step=step)
        assert at.total_l1.item() == pytest.approx(np.linalg.norm(flat, 1))
        assert at.total_l2.item() == pytest.approx(np.linalg.norm(flat, 2))
        assert at.total_l0.item() == np.linalg.norm(flat, 0)
        row = masked_run.metrics.set_index("step").loc[step]
        assert at.total_l2.item() == pytest.approx(row.l2, rel=1e-5)


def test_some_steps_are_a_part_of_all(tiny_run: Run) -> None:
    assert norms.PER_STEP
    some = tiny_run.steps[1:3]
    assert norms.measure(tiny_run, steps=some).equals(norms.measure(tiny_run).sel(step=some))


@pytest.mark.parametrize("norm", norms.NORMS)
def test_every_weight_has_a_panel(tiny_transformer_run: Run, norm: str) -> None:
    found = norms.measure(tiny_transformer_run)
    figure = norms.draw({"t": found}, norm=norm, scaled=True, state="raw")
    assert len(figure.data) == 3 + len(tiny_transformer_run.weight_names)
    assert "L2" in norms.finding(found)


def test_a_mask_leaves_the_raw_norm_alone(tiny_run: Run, tmp_path: Path) -> None:
    saved = tiny_run.checkpoint(-1)
    nothing = Mask({"W_in": torch.zeros_like(saved.weights["W_in"], dtype=torch.bool)})
    run = create_run(tmp_path / "run", tiny_run.config, replace(saved, step=0, mask=nothing))
    found = norms.measure(run).sel(step=0)
    assert found.l2.sel(weight="W_in", state="masked").item() == 0
    assert found.l2.sel(state="raw").equals(
        norms.measure(tiny_run).sel(step=saved.step, state="raw").l2.assign_coords(step=0)
    )


def test_means_over_weights_are_those_of_their_norms(tiny_run: Run) -> None:
    dataset = norms.measure(tiny_run)
    for name in ("l1", "l2"):
        assert np.allclose(dataset[f"mean_{name}"], dataset[name].mean("weight"))
    figure = norms.draw({"tiny": dataset}, whole="mean")
    titles = [note.text for note in figure.layout.annotations if note.text]
    assert any("mean over weights" in title for title in titles)
