"""The spectrum of a wave is one line; of what a network has learned, read from its weights."""

import numpy as np
import pytest
import torch

from mechgrok.analyses import fourier
from mechgrok.runs import Run
from mechgrok.runs.checkpoint import Checkpoint
from mechgrok.training import create_run


def wave_run(tmp_path: object, tiny_run: Run, frequencies: list[int]) -> Run:
    """A run whose neuron i has the input-side weights cos(2π ω_i x / p + i)."""
    p, weights = 7, tiny_run.checkpoint(0).weights
    x = torch.arange(p)
    waves = [torch.cos(2 * torch.pi * w * x / p + i) for i, w in enumerate(frequencies)]
    W_E = torch.zeros_like(weights["W_E"])
    W_E[:, : len(waves)] = torch.stack(waves, 1)
    W_in = torch.zeros_like(weights["W_in"])
    W_in[: len(waves), : len(waves)] = torch.eye(len(waves))
    start = Checkpoint(0, weights | {"W_E": W_E, "W_in": W_in})
    return create_run(f"{tmp_path}/waves", tiny_run.config, start)


def test_a_wave_holds_all_its_power_in_its_frequency(tmp_path: object, tiny_run: Run) -> None:
    frequencies = [1, 2, 3, 3]
    measured = fourier.measure(wave_run(tmp_path, tiny_run, frequencies))
    now = measured.isel(step=0)
    assert now.live.to_numpy().tolist() == [True] * 4 + [False] * 4
    assert now.frequency_of[:4].to_numpy().tolist() == frequencies
    np.testing.assert_allclose(now.share[:4], 1, atol=1e-6)
    for neuron, frequency in enumerate(frequencies):  # |F(ω)| of a cosine is p/2
        assert now.input_amplitude[neuron, frequency] == pytest.approx(3.5, abs=1e-5)
    np.testing.assert_allclose(now.use, [0, 1 / 4, 1 / 4, 1 / 2], atol=1e-6)
    assert "4 live neurons hold 100% of their power in one frequency" in fourier.finding(measured)


def test_spectra_are_numpys(tiny_run: Run, tiny_transformer_run: Run) -> None:
    for run in (tiny_run, tiny_transformer_run):
        measured = fourier.measure(run, path="direct")
        step = run.steps[-1]
        model = run.model(step)
        with torch.no_grad():
            sides = {"input": model.input_side().T, "output": model.output_side()}
            embedding = np.abs(np.fft.rfft(model.W_E.numpy(), axis=0))
        for side, weights in sides.items():
            expected = np.abs(np.fft.rfft(weights.numpy(), axis=1))
            np.testing.assert_allclose(
                measured[f"{side}_amplitude"].sel(step=step), expected, atol=1e-4
            )
        np.testing.assert_allclose(
            measured.embedding_amplitude.sel(step=step),
            np.linalg.norm(embedding, axis=1),
            atol=1e-4,
        )


def test_steps_select(tiny_run: Run) -> None:
    assert fourier.measure(tiny_run, steps=[0, 60]).step.to_numpy().tolist() == [0, 60]


def test_the_figure_follows_its_slider(tiny_run: Run, masked_run: Run) -> None:
    measured = {"base": fourier.measure(tiny_run), "masked": fourier.measure(masked_run)}
    figure = fourier.draw(measured)
    assert [frame.name for frame in figure.frames] == [str(step) for step in tiny_run.steps]
    first, last = figure.frames[0], figure.frames[-1]
    np.testing.assert_allclose(figure.data[0].z, last.data[0].z)
    assert not np.allclose(first.data[0].z, last.data[0].z)
    assert len(first.data) == len(first.traces)
    spectrum = np.sort(measured["base"].input_amplitude.sel(step=60)[:, 1:].to_numpy(), axis=0)
    np.testing.assert_allclose(np.sort(figure.data[0].z, axis=0), spectrum, rtol=1e-6)


def test_a_transformers_input_side_goes_through_attention(tiny_transformer_run: Run) -> None:
    run = tiny_transformer_run
    weights = {name: w.double().numpy() for name, w in run.checkpoint(-1).weights.items()}
    attention = sum(
        weights["embed.W_E"] @ W_V @ W_O @ weights["blocks.0.mlp.W_in"]
        for W_V, W_O in zip(weights["blocks.0.attn.W_V"], weights["blocks.0.attn.W_O"], strict=True)
    )
    measured = fourier.measure(run, steps=[run.steps[-1]])
    assert measured.path == "attention"
    expected = np.abs(np.fft.rfft(attention, axis=0)).T
    np.testing.assert_allclose(measured.input_amplitude[0], expected, atol=1e-4)
