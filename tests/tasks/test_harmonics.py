"""The Fourier transform of a group is the ordinary one where the group is cyclic."""

import pytest
import torch

from mechgrok.analyses.measures.fourier import character_components, key_frequencies
from mechgrok.errors import UserError
from mechgrok.interventions.waves import grid_parts, projection
from mechgrok.tasks import make_task
from mechgrok.tasks.groups.families import named
from mechgrok.tasks.harmonics import (
    Harmonics,
    Representations,
    Waves,
    fourier_basis,
    harmonics,
    no_harmonics,
)

GROUPS = ("S4", "A4", "Q8", "D5", "C3xS3", "C3xC3", "C12")


def of(name: str) -> Representations:
    return Representations(named(name))


@pytest.mark.parametrize("n", [2, 7, 12])
def test_the_representations_of_a_cyclic_group_are_the_ordinary_frequencies(n: int) -> None:
    waves, group = Waves(torch.arange(n)), of(f"C{n}")
    signal, logits = torch.randn(3, n).double(), torch.randn(n, n).double()
    amplitude = waves.amplitude(signal)
    close = torch.testing.assert_close
    close(group.amplitude(signal), amplitude)
    close(group.power_share(amplitude), waves.power_share(amplitude))
    close(group.characters, waves.characters)
    close(group.of_noise, waves.of_noise)
    close(character_components(logits, group), character_components(logits, waves))
    parts, grid, weight = [1, n // 2], torch.randn(n, n, 2).double(), torch.rand(n) + 0.1
    for own, other in zip(
        projection(group.functions(parts), weight),
        projection(waves.functions(parts), weight),
        strict=True,
    ):
        close(own, other)
    both = [grid_parts(grid, [each.basis(k) for k in parts]) for each in (group, waves)]
    close(*both)


def test_the_waves_amplitude_is_that_of_their_basis() -> None:
    waves = Waves(torch.arange(12))
    signal = torch.randn(12).double()
    for k in range(7):
        power = (waves.basis(k).T @ signal).square().sum() * 12 / waves.counted[k]
        assert float(waves.amplitude(signal)[k]) == pytest.approx(float(power.sqrt()))


@pytest.mark.parametrize("p", [1, 2, 3, 12, 67])
def test_the_fourier_basis_is_orthonormal_and_its_names_say_what_its_rows_are(p: int) -> None:
    basis, names = fourier_basis(p)
    torch.testing.assert_close(basis @ basis.T, torch.eye(p), atol=1e-6, rtol=0)
    assert len(names) == p
    for row, name in zip(basis, names, strict=True):
        wave, k = (f"{name} 0" if name == "const" else name).split()[:2]
        angle = 2 * torch.pi * int(k) * torch.arange(p).double() / p
        expected = {"const": torch.cos, "cos": torch.cos, "sin": torch.sin}[wave](angle)
        torch.testing.assert_close(row.double(), expected / expected.norm(), atol=1e-6, rtol=1e-5)


def test_over_an_even_number_of_residues_the_last_wave_is_a_cosine_alone() -> None:
    assert fourier_basis(4).names == ("const", "cos 1", "sin 1", "cos 2")
    with pytest.raises(UserError, match="0 residues"):
        fourier_basis(0)


@pytest.mark.parametrize("name", GROUPS)
def test_plancherel(name: str) -> None:
    """The parts are all there is: Σ counted · amplitude² / n is the squared norm."""
    group = of(name)
    signal = torch.randn(5, group.n).double()
    power = group.counted * group.amplitude(signal).square() / group.n
    torch.testing.assert_close(power.sum(-1), signal.square().sum(-1))
    every = group.functions(range(len(group.names)))
    torch.testing.assert_close(every.T @ every, torch.eye(group.n).double())


@pytest.mark.parametrize("name", GROUPS)
def test_shifts_from_either_side_leave_every_part_as_strong(name: str) -> None:
    group = of(name)
    table = torch.from_numpy(group.group.table)
    signal = torch.randn(group.n).double()
    for shifted in (signal[table[3]], signal[table[:, 3]]):
        torch.testing.assert_close(group.amplitude(shifted), group.amplitude(signal))


@pytest.mark.parametrize("name", GROUPS)
def test_an_entry_of_a_representation_lies_in_it_whole(name: str) -> None:
    group = of(name)
    for part, irrep in enumerate(group.irreps[1:], 1):
        entry = torch.from_numpy(irrep.matrices[:, 0, -1].real.copy())
        share = group.power_share(group.amplitude(5 + entry))
        assert float(share[part]) == pytest.approx(1)


def test_the_logits_of_the_algorithm_of_characters_give_their_coefficients_back() -> None:
    """Σ α tr ρ(a b c⁻¹), as Chughtai et al. find it in networks."""
    group = of("S4")
    alpha = torch.tensor([2.0, 0.5, 3, 0, -1]).double()
    logits = (alpha @ group.characters)[group.difference]
    torch.testing.assert_close(character_components(logits, group), alpha)
    torch.testing.assert_close(character_components(logits, group, torch.rand(24) + 0.1), alpha)
    weight = torch.rand(24) + 0.1
    with_offset, _ = projection(group.functions([1, 2, 4]), weight)
    torch.testing.assert_close(with_offset @ logits, logits)


def test_white_noise_has_no_key_representation_but_the_strongest() -> None:
    group = of("S4")
    power = group.power_share(group.amplitude(torch.randn(100_000, 24).double())).mean(0)
    torch.testing.assert_close(power, group.of_noise, atol=5e-3, rtol=0)
    assert len(key_frequencies(power, group.of_noise)) == 1
    assert key_frequencies(torch.tensor([0, 0.1, 0.8, 0.1, 0]), group.of_noise) == [1, 2]


def test_a_task_knows_its_parts() -> None:
    assert harmonics(make_task("group", group="C7")).names == ("0", "1", "2", "3")
    assert harmonics(make_task("mul", p=7)).n == 6
    assert harmonics(make_task("group", group="Q8")).kind == "representation"
    with pytest.raises(UserError, match="--order"):
        harmonics(make_task("group", group="S3"), "multiplicative")
    assert "not modular" in str(no_harmonics(make_task("parity")))


def test_parts_are_called_by_name_or_number() -> None:
    group = of("S4")
    assert group.numbered(["standard", 1, "2+2", "3"]) == [2, 1, 4, 3]
    with pytest.raises(UserError, match=r"'std'.*sign, standard"):
        group.numbered(["std"])
    with pytest.raises(UserError, match=r"0 .*1 to 4"):
        group.numbered([0])


@pytest.mark.parametrize("parts", [Waves(torch.arange(8)), Representations(named("S3"))])
def test_pairs_of_parts_hold_all_of_a_function_and_shifts_move_nothing_between_them(
    parts: Harmonics,
) -> None:
    grid = torch.randn(parts.n, parts.n, dtype=torch.float64)
    power = parts.pair_power(grid)
    assert float(power.sum()) == pytest.approx(float(grid.square().sum()))
    # Row s of the differences runs through all elements once: a permutation by a shift.
    shifted = grid[parts.difference[2].argsort()][:, parts.difference[:, 3]]
    torch.testing.assert_close(parts.pair_power(shifted), power)


def test_a_product_of_two_parts_lies_in_their_pair() -> None:
    parts = Waves(torch.arange(9))
    grid = torch.outer(parts.basis(2)[:, 1], parts.basis(4)[:, 0])
    power = parts.pair_power(grid)
    assert float(power[2, 4]) == pytest.approx(1)
    assert float(power.sum()) == pytest.approx(1)
