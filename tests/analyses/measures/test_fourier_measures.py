"""The mathematics of waves over residues, against cases worked out by hand and plain sums."""

import math

import numpy as np
import pytest
import torch

from mechgrok.analyses.measures.fourier import (
    amplitude_spectrum,
    character_components,
    cosine_fit,
    cyclic_order,
    dominant_frequency,
    gini,
    grid_share,
    key_frequencies,
    live,
    power_share,
    primitive_root,
    projection,
    spectral_entropy,
)
from mechgrok.errors import UserError
from mechgrok.tasks.harmonics import Waves


def wave(n: int, k: float, phase: float = 0.0) -> torch.Tensor:
    return (2 * torch.pi * k * torch.arange(n, dtype=torch.float64) / n - phase).cos()


def test_the_amplitude_spectrum_is_the_sum_in_its_definition() -> None:
    signal = torch.randn(3, 11, dtype=torch.float64)
    x = np.arange(11)
    expected = [
        [abs(sum(f * np.exp(-2j * np.pi * w * x / 11))) for w in range(6)] for f in signal.numpy()
    ]
    np.testing.assert_allclose(amplitude_spectrum(signal), expected, atol=1e-12)


@pytest.mark.parametrize("p", [11, 12])
def test_power_shares_are_shares_of_the_variance(p: int) -> None:
    signal = 5 + 3 * wave(p, 2) + 4 * wave(p, 3, 1.0)
    share = power_share(amplitude_spectrum(signal), p)
    expected = torch.zeros(p // 2 + 1, dtype=torch.float64)
    expected[2], expected[3] = 9 / 25, 16 / 25
    torch.testing.assert_close(share, expected)
    assert dominant_frequency(share) == 3


def test_the_highest_frequency_of_an_even_period_has_no_mirror_image() -> None:
    share = power_share(amplitude_spectrum(wave(12, 6) + wave(12, 1) * 2**0.5), 12)
    torch.testing.assert_close(share[[1, 6]], torch.full((2,), 0.5, dtype=torch.float64))


def test_a_neuron_below_a_hundredth_of_the_largest_is_dead() -> None:
    signal = torch.stack([wave(7, 1), 0.02 * wave(7, 1), 0.005 * wave(7, 1), 0 * wave(7, 1)])
    assert live(signal).tolist() == [True, True, False, False]


@pytest.mark.parametrize(("p", "g"), [(2, 1), (3, 2), (7, 3), (23, 5), (41, 6), (67, 2)])
def test_known_smallest_primitive_roots(p: int, g: int) -> None:
    assert primitive_root(p) == g


@pytest.mark.parametrize("p", [1, 4, 9, 15])
def test_a_composite_modulus_has_no_discrete_logarithm(p: int) -> None:
    with pytest.raises(UserError, match=f"{p} .*prime"):
        primitive_root(p)


def test_in_multiplicative_order_a_product_is_a_sum_of_positions() -> None:
    residues = cyclic_order(13, "multiplicative").tolist()
    assert sorted(residues) == list(range(1, 13))
    for i, a in enumerate(residues):
        for j, b in enumerate(residues):
            assert a * b % 13 == residues[(i + j) % 12]
    assert cyclic_order(13).tolist() == list(range(13))


def test_a_wave_has_entropy_0_and_a_flat_spectrum_has_the_logarithm_of_its_width() -> None:
    pulse = torch.zeros(67, dtype=torch.float64)
    pulse[5] = 1
    signals = torch.stack([wave(67, 7, 0.3), pulse])
    entropy = spectral_entropy(amplitude_spectrum(signals))
    torch.testing.assert_close(
        entropy, torch.tensor([0.0, math.log(33)], dtype=torch.float64), atol=1e-9, rtol=0
    )


def test_entropy_ignores_the_mean_the_scale_and_where_the_signal_starts() -> None:
    signal = torch.randn(19, dtype=torch.float64)
    moved = 3 * signal.roll(4) - 100
    torch.testing.assert_close(
        spectral_entropy(amplitude_spectrum(moved)), spectral_entropy(amplitude_spectrum(signal))
    )
    assert spectral_entropy(torch.zeros(5)).isnan()


def test_gini_against_all_pairs() -> None:
    values = torch.rand(4, 9, dtype=torch.float64)
    differences = (values[:, :, None] - values[:, None, :]).abs().sum((1, 2))
    torch.testing.assert_close(gini(values), differences / (2 * 9 * values.sum(1)))
    assert gini(torch.ones(5)) == 0
    assert gini(torch.tensor([0.0, 0, 0, 7])) == pytest.approx(3 / 4)


def test_key_frequencies_stand_out_of_the_rest() -> None:
    assert key_frequencies(torch.tensor([100.0, 1, 8, 1, 5, 1])) == [2]
    assert key_frequencies(torch.tensor([0.0, 0, 8, 0, 7, 0])) == [2, 4]
    assert key_frequencies(torch.tensor([0.0, 1, 1, 1.1])) == [3]


def test_a_fitted_cosine_is_the_least_squares_wave() -> None:
    signal = 2 + 3 * wave(13, 4, 0.7)
    fit = cosine_fit(signal)
    assert int(fit.frequency) == 4
    assert [float(x) for x in fit[1:]] == pytest.approx([3, 0.7, 2, 1])
    noisy = signal + 0.3 * torch.randn(13, dtype=torch.float64)
    fit = cosine_fit(noisy)
    columns = torch.stack([torch.ones(13), wave(13, 4), wave(13, 4, torch.pi / 2)], dim=1).double()
    best = columns @ torch.linalg.lstsq(columns, noisy).solution
    curve = fit.curve(torch.arange(13), 13)
    torch.testing.assert_close(curve, best)
    assert float(fit.explained) == pytest.approx(
        float(1 - (noisy - best).square().sum() / (noisy - noisy.mean()).square().sum())
    )


def test_shifting_a_signal_turns_the_phase_and_nothing_else() -> None:
    signal = torch.randn(5, 11, dtype=torch.float64)
    fit, moved = cosine_fit(signal), cosine_fit(signal.roll(1, dims=-1))
    assert torch.equal(fit.frequency, moved.frequency)
    torch.testing.assert_close(fit.amplitude, moved.amplitude)
    turned = moved.phase - fit.phase - 2 * torch.pi * fit.frequency / 11
    torch.testing.assert_close(turned.cos(), torch.ones(5, dtype=torch.float64))


def test_the_alternating_wave_of_an_even_period_is_fitted_whole() -> None:
    fit = cosine_fit(3 * wave(8, 4))
    assert (int(fit.frequency), float(fit.amplitude)) == (4, pytest.approx(3))


def test_projection_with_equal_weights_keeps_entries_of_the_fourier_transform() -> None:
    signal = torch.randn(12, 3, dtype=torch.float64)
    with_offset, alone = projection(Waves(torch.arange(12)).functions([2, 6]), torch.ones(12))
    spectrum = np.fft.fft(signal.numpy(), axis=0)
    keep = np.isin(np.arange(12), [0, 2, 10, 6])
    expected = np.fft.ifft(spectrum * keep[:, None], axis=0).real
    np.testing.assert_allclose(with_offset @ signal, expected, atol=1e-10)
    np.testing.assert_allclose(alone @ signal, expected - expected.mean(0), atol=1e-10)


def test_projection_never_looks_at_residues_of_weight_0() -> None:
    weight = torch.ones(11)
    weight[0] = 0
    signal = 1 + wave(11, 3, 0.4)
    broken = signal.clone()
    broken[0] = 1e6
    with_offset, _ = projection(Waves(torch.arange(11)).functions([3]), weight)
    torch.testing.assert_close(with_offset @ broken, signal)


def test_trig_components_of_the_algorithm_are_its_coefficients() -> None:
    p = 11
    s, c = torch.arange(p)[:, None], torch.arange(p)
    angle = 2 * torch.pi * (s - c).double() / p
    logits = 7 + 3 * (2 * angle).cos() - 0.5 * (5 * angle).cos() + (2 * angle).sin()
    expected = torch.tensor([7, 0, 3, 0, 0, -0.5], dtype=torch.float64)
    waves = Waves(c)
    torch.testing.assert_close(character_components(logits, waves), expected)
    torch.testing.assert_close(character_components(logits, waves, torch.rand(p) + 0.1), expected)


def test_trig_components_are_projections() -> None:
    logits = torch.randn(2, 9, 9, dtype=torch.float64)
    s, c = torch.arange(9)[:, None], torch.arange(9)
    expected = [
        2 * (logits * (2 * torch.pi * k * (s - c).double() / 9).cos()).mean((1, 2))
        for k in range(1, 5)
    ]
    torch.testing.assert_close(
        character_components(logits, Waves(c))[:, 1:], torch.stack(expected, 1)
    )


def test_a_wave_in_a_product_of_one_frequency_belongs_to_it_whole() -> None:
    a, b = wave(11, 3, 0.2), wave(11, 3, 1.1)
    one = a[:, None] * b + 2 * a[:, None] + b
    mixed = a[:, None] * wave(11, 4)
    shares = grid_share(torch.stack([one, mixed]), Waves(torch.arange(11)))
    torch.testing.assert_close(shares[0], torch.eye(6, dtype=torch.float64)[3])
    torch.testing.assert_close(shares[1], torch.zeros(6, dtype=torch.float64))
    assert grid_share(torch.ones(11, 11), Waves(torch.arange(11)))[1:].isnan().all()


@pytest.mark.parametrize("n", [7, 8])
def test_grid_shares_against_regression_on_the_eight_waves(n: int) -> None:
    grid = torch.randn(n, n, dtype=torch.float64)
    centred = (grid - grid.mean()).flatten()
    for k, share in enumerate(grid_share(grid, Waves(torch.arange(n)))[1:].tolist(), 1):
        cos, sin, one = wave(n, k), wave(n, k, torch.pi / 2), torch.ones(n, dtype=torch.float64)
        rows = [torch.outer(f, g).flatten() for f in (one, cos, sin) for g in (one, cos, sin)][1:]
        columns = torch.stack(rows, dim=1)
        fitted = columns @ (torch.linalg.pinv(columns, rtol=1e-9) @ centred)
        assert share == pytest.approx(float(fitted.square().sum() / centred.square().sum()))
