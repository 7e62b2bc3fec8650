"""Magnitude masks of checkpoints, compared by Jaccard."""

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from mechgrok.analyses import similarity
from mechgrok.configuration.run_config import RunConfig
from mechgrok.errors import UserError
from mechgrok.runs import Run
from mechgrok.runs.checkpoint import Checkpoint, write_checkpoint
from mechgrok.training import create_run


def by_numpy(run: Run, step: int, rate: float) -> dict[str, np.ndarray]:
    """Masks from a sort over all matrices, without this project's Mask."""
    saved = run.checkpoint(step)
    flat = {n: np.abs(w.numpy()) for n, w in saved.weights.items() if w.ndim >= 2}
    together = np.sort(np.concatenate([w.ravel() for w in flat.values()]))
    threshold = together[round(rate * len(together))]
    return {name: w >= threshold for name, w in flat.items()}


@pytest.fixture
def by_hand(tmp_path: Path) -> Run:
    """W_in = [1, 2, 3, 4] at step 0 and [4, 3, 2.5, 1] at step 10; W_out stays small."""
    config = RunConfig.make(
        task={"name": "add", "p": 2, "pairs": "ordered", "train_fraction": 0.5},
        model={"kind": "mlp", "d_model": None, "d_mlp": 2},
        training={"steps": 10, "checkpoint_every": 10},
    )
    W_out = torch.full((2, 2), 0.1)
    first = {"W_in": torch.tensor([[1.0, -2.0], [3.0, 4.0]]), "W_out": W_out}
    last = {"W_in": torch.tensor([[4.0, 3.0], [-2.5, 1.0]]), "W_out": W_out}
    run = create_run(tmp_path / "run", config, Checkpoint(0, first))
    write_checkpoint(run.path, Checkpoint(10, last))
    rows = ["step,train_loss,test_loss,train_accuracy,test_accuracy,l1,l2"]
    rows += ["0,1,1,0.5,0.25,1,1", "10,1,1,1.0,0.75,1,1"]
    (run.path / "metrics.csv").write_text("\n".join(rows) + "\n")
    return Run(run.path)


def test_two_checkpoints_worked_out_by_hand(by_hand: Run) -> None:
    # k = 5/8 keeps 3 of 8 entries: those with 2, 3, 4 at step 0, and 4, 3, 2.5 at step 10.
    found = similarity.measure(by_hand, rate=5 / 8, lag=10)
    both = found.pairwise.sel(layer="all")
    assert both.sel(step=0, other_step=10).item() == pytest.approx(2 / 4)
    assert found.similarity.sel(step=0, layer="W_in").item() == pytest.approx(2 / 4)
    assert found.similarity.sel(step=0, layer="W_out").item() == 1  # both empty
    assert found.similarity.sel(step=10, layer="all").item() == 1
    assert found.distance.sel(step=0, layer="all").item() == pytest.approx(1 - 2 / 4)
    assert np.isnan(found.distance.sel(step=10, layer="all"))
    assert found.later.to_numpy().tolist() == [10, -1]
    assert found.accuracy_change.sel(step=0).item() == pytest.approx(0.5)
    assert found.density.sel(step=0).to_numpy().tolist() == [3 / 4, 0, 3 / 8]


@pytest.mark.parametrize("rate", [0.3, 0.6, 0.9])
def test_pairs_agree_with_sets_of_numpy(tiny_transformer_run: Run, rate: float) -> None:
    run = tiny_transformer_run
    found = similarity.measure(run, rate=rate)
    for t in run.steps[::2]:
        for s in run.steps[1::2]:
            a, b = by_numpy(run, t, rate), by_numpy(run, s, rate)
            at = found.pairwise.sel(step=t, other_step=s)
            for name in a:
                expected = (a[name] & b[name]).sum() / (a[name] | b[name]).sum()
                assert at.sel(layer=name).item() == pytest.approx(expected, rel=1e-6)
            common = sum((a[name] & b[name]).sum() for name in a)
            either = sum((a[name] | b[name]).sum() for name in a)
            assert at.sel(layer="all").item() == pytest.approx(common / either, rel=1e-6)


def test_jaccard_is_symmetric_and_one_with_itself(tiny_run: Run) -> None:
    pairs = similarity.measure(tiny_run).pairwise.to_numpy()
    assert np.array_equal(pairs, pairs.transpose(1, 0, 2))
    assert (np.einsum("ssl->sl", pairs) == 1).all()


def test_each_layer_has_its_own_threshold_if_wanted(tiny_run: Run) -> None:
    kept = similarity.measure(tiny_run, scope="layer", rate=0.75).density
    assert np.allclose(kept, 0.25, atol=0.02)
    assert not np.allclose(similarity.measure(tiny_run, rate=0.75).density, 0.25, atol=0.02)


def test_intersections_of_many_entries_are_counted_in_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(4, 103, generator=generator) < 0.5
    monkeypatch.setattr(similarity, "_LARGEST", 70)  # ten entries of seven masks at a time
    expected = [[int((a & b).sum()) for b in masks[:3]] for a in masks]
    assert similarity.intersections(masks, masks[:3]).tolist() == expected


def test_of_many_checkpoints_each_is_compared_with_some_and_the_answer_says_so(
    tiny_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = similarity.measure(tiny_run)
    assert "other_steps" not in whole.attrs
    monkeypatch.setattr(similarity, "_OTHERS", 4)
    thin = similarity.measure(tiny_run)
    assert thin.attrs["other_steps"] == thin.sizes["other_step"] == 4
    assert thin.sizes["step"] == len(tiny_run.steps)
    xr.testing.assert_equal(thin.pairwise, whole.pairwise.sel(other_step=thin.other_step))
    for name in ("similarity", "distance", "density", "later"):
        xr.testing.assert_equal(thin[name], whole[name])
    assert similarity.draw({"thin": thin}).data


def test_the_reference_may_be_another_run_or_a_masks_file(
    tiny_run: Run, masked_run: Run, tmp_path: Path
) -> None:
    other = similarity.measure(tiny_run, reference=masked_run.path, reference_step=0)
    mask = similarity._mask(masked_run, 0, 0.6, "global")
    mask.save(tmp_path / "mask.safetensors")
    file = similarity.measure(tiny_run, reference=tmp_path / "mask.safetensors")
    assert np.array_equal(other.similarity, file.similarity)
    first = similarity._mask(tiny_run, 0, 0.6, "global")
    assert other.similarity.sel(step=0, layer="all").item() == pytest.approx(first.jaccard(mask))
    assert file.reference == "mask.safetensors"
    assert other.reference == "masked at step 0"


def test_a_ticket_at_its_own_rate_keeps_its_mask(masked_run: Run) -> None:
    assert masked_run.mask is not None
    found = similarity.measure(masked_run, rate=1 - masked_run.mask.density)
    assert found.pairwise.to_numpy().min() == 1


def test_a_reference_of_another_shape_is_refused(tiny_run: Run, tiny_transformer_run: Run) -> None:
    with pytest.raises(UserError, match="W_E"):
        similarity.measure(tiny_run, reference=tiny_transformer_run.path)
    with pytest.raises(UserError, match=r"1\.5"):
        similarity.measure(tiny_run, rate=1.5)


def test_the_partner_of_a_step_is_a_checkpoint_near_it() -> None:
    later = similarity._later([0, 25, 50, 100, 200, 300], 100)
    assert later.tolist() == [3, -1, -1, 4, 5, -1]
    assert similarity._later([0, 95], 100).tolist() == [1, -1]


def moving(distance: list[float]) -> xr.Dataset:
    steps = list(range(len(distance)))
    return xr.Dataset(
        {"distance": (("step", "layer"), np.array(distance)[:, None])},
        coords={"step": steps, "layer": ["all"]},
    )


def test_the_peak_is_where_the_distance_rises_again() -> None:
    assert similarity.peak(moving([0.9, 0.5, 0.2, 0.3, 0.45, 0.1, np.nan])) == (4, 0.45)
    assert similarity.peak(moving([0.9, 0.5, 0.2, 0.1])) is None
    assert similarity.peak(moving([np.nan])) is None


@pytest.mark.parametrize("lag", [0, -10])
def test_a_lag_goes_forward(tiny_run: Run, lag: int) -> None:
    with pytest.raises(UserError, match=f"lag .*{lag}"):
        similarity.measure(tiny_run, lag=lag)


def test_the_figure_shows_every_layer_and_the_pairs(tiny_run: Run, masked_run: Run) -> None:
    found = {run.name: similarity.measure(run) for run in (tiny_run, masked_run)}
    figure = similarity.draw(found)
    assert sum(trace.type == "heatmap" for trace in figure.data) == 2
    assert len(figure.layout.updatemenus[0].buttons) == 5
    assert all(similarity.finding(dataset) for dataset in found.values())


def test_a_sequence_too_sparse_for_its_lag_says_so(tiny_run: Run) -> None:
    found = {"tiny": similarity.measure(tiny_run, lag=1000)}
    figure = similarity.draw(found)
    notes = " ".join(note.text for note in figure.layout.annotations)
    assert f"0 of {len(tiny_run.steps)} checkpoints" in notes
    assert not any("its change" in (trace.name or "") for trace in figure.data)
    assert f"known for 0 of {len(tiny_run.steps)} checkpoints" in similarity.finding(found["tiny"])
    dense = similarity.draw({"tiny": similarity.measure(tiny_run, lag=10)})
    assert any("its change" in (trace.name or "") for trace in dense.data)


def test_a_fixed_mask_is_left_out_of_the_figure(tiny_run: Run, masked_run: Run) -> None:
    fixed = similarity.measure(masked_run)
    fixed = fixed.assign(pairwise=xr.ones_like(fixed.pairwise))
    answers = {"base": similarity.measure(tiny_run), "ticket": fixed}
    title = str(similarity.draw(answers).layout.title.subtitle.text)
    assert "fixed mask: ticket" in title.replace("<br>", " ")
    assert not any(
        (trace.name or "").startswith("ticket") for trace in similarity.draw(answers).data
    )
