"""Weights and masks as images."""

import base64

import numpy as np
import pytest
import torch

from mechgrok.analyses import weights
from mechgrok.analyses.measures.fourier import amplitude_spectrum
from mechgrok.runs import Run


def test_an_image_holds_the_weights(tiny_run: Run) -> None:
    found = weights.measure(tiny_run, order="index")
    for name in ("W_E", "W_in", "W_out", "W_U"):
        assert np.array_equal(found[name], tiny_run.weights(name, found.step.to_numpy().tolist()))


def test_a_ticket_shows_its_own_mask(masked_run: Run) -> None:
    found = weights.measure(masked_run, order="index")
    assert masked_run.mask is not None
    for name, kept in masked_run.mask.items():
        assert np.array_equal(found[f"{name} kept"][-1], kept)
        assert not found[name].to_numpy()[~found[f"{name} kept"].to_numpy()].any()
    assert found.attrs["mask"] == "its own mask"


def test_a_dense_run_shows_the_mask_that_a_ticket_would_get(tiny_run: Run) -> None:
    found = weights.measure(tiny_run, rate=0.8, order="index", steps=[0])
    kept = np.concatenate([found[f"{n} kept"].to_numpy().ravel() for n in found.attrs["weights"]])
    size = np.concatenate([np.abs(found[n].to_numpy().ravel()) for n in found.attrs["weights"]])
    assert kept.mean() == pytest.approx(0.2, abs=0.01)
    assert size[kept].min() >= size[~kept].max()


def test_neurons_stand_in_order_of_their_strongest_frequency(tiny_run: Run) -> None:
    found = weights.measure(tiny_run)
    neurons = found["W_in column"].to_numpy()
    assert sorted(neurons) == list(range(8))
    spectrum = amplitude_spectrum(tiny_run.input_side([tiny_run.steps[-1]])[0].T)
    frequency = spectrum[:, 1:].argmax(1).numpy()[neurons]
    assert (np.diff(frequency) >= 0).all()
    # The same neuron has the same place in every matrix, and its own weights.
    assert np.array_equal(found["W_out row"], neurons)
    assert np.array_equal(found["W_in row"], found["W_E column"])
    plain = weights.measure(tiny_run, order="index").W_in
    ordered = plain.to_numpy()[:, found["W_in row"].to_numpy()][:, :, neurons]
    assert np.array_equal(found.W_in, ordered)


def test_of_a_large_matrix_the_strongest_entry_of_each_block_is_shown(
    tiny_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "_LARGEST_IMAGE", 24)
    found = weights.measure(tiny_run, order="index", steps=[0])
    full = tiny_run.weights("W_in", [0])[0].numpy()  # [12, 8] becomes [6, 4] by blocks of 2 × 2
    assert found.W_in.shape == (1, 6, 4)
    block = full[:2, :2].ravel()
    assert found.W_in[0, 0, 0].item() == block[np.abs(block).argmax()]
    assert found["W_in row"].to_numpy().tolist() == [0, 2, 4, 6, 8, 10]


def test_blocks_halve_the_longer_side_until_it_fits() -> None:
    assert weights._block(67, 500) == (1, 1)
    assert weights._block(500, 500) == (2, 2)
    assert weights._block(784, 200) == (4, 1)


def test_axes_are_named_after_what_they_stand_for(tiny_run: Run, tiny_transformer_run: Run) -> None:
    assert weights.measure(tiny_run).W_out.attrs["axes"] == ["neuron", "d_model"]
    assert weights.measure(tiny_transformer_run).W_O.attrs["axes"] == ["d_head", "d_model"]


def test_the_slider_changes_the_images(tiny_run: Run, masked_run: Run) -> None:
    figure = weights.draw({run.name: weights.measure(run) for run in (tiny_run, masked_run)})
    assert len(figure.data) == 2 * 2 * 4
    assert len(figure.layout.sliders[0].steps) == len(figure.frames)
    first, last = figure.frames[0].data[0].z, figure.frames[-1].data[0].z
    assert not np.array_equal(first, last)


def test_images_are_drawn_in_small_whole_numbers(tiny_run: Run) -> None:
    found = weights.measure(tiny_run, order="index")
    trace = weights.draw({"run": found}).to_plotly_json()["data"][0]["z"]
    if isinstance(trace, dict):
        trace = np.frombuffer(base64.b64decode(trace["bdata"]), trace["dtype"])
    assert np.asarray(trace).dtype == np.int16
    drawn, real = np.asarray(trace, dtype=float).ravel(), found.W_E[-1].to_numpy().ravel()
    scale = np.median(drawn[real != 0] / real[real != 0])
    assert 10 ** round(np.log10(scale)) == pytest.approx(scale, rel=1e-2)


def test_a_transformers_matrices_are_all_there(tiny_transformer_run: Run) -> None:
    found = weights.measure(tiny_transformer_run)
    heads = tiny_transformer_run.weights("W_Q", [0])
    assert found.W_Q.shape[1:] == (12, heads.shape[1] * heads.shape[3])
    assert "W_O" in weights.finding(found)
    assert torch.tensor(found["W_pos kept"].to_numpy()).dtype == torch.bool
