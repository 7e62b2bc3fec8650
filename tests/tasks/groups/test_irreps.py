"""Representations are complete, irreducible and what textbooks print."""

from dataclasses import replace

import numpy as np
import pytest

from mechgrok.tasks.groups.families import named
from mechgrok.tasks.groups.irreps import Irrep, check, decomposed, irreps_of
from mechgrok.tasks.groups.tableaux import conjugate, partitions, standard_tableaux

#: Representations, pairs of conjugates once: dimension and whether it is a pair.
COUNTS = {
    "C1": "1",
    "C6": "1 1 1* 1*",
    "D1": "1 1",
    "D5": "1 1 2 2",
    "D6": "1 1 1 1 2 2",
    "Q8": "1 1 1 1 2",
    "Q12": "1 1 1* 2 2",
    "S1": "1",
    "S2": "1 1",
    "S4": "1 1 2 3 3",
    "S5": "1 1 4 4 5 5 6",
    "A3": "1 1*",
    "A4": "1 1* 3",
    "A5": "1 3 3 4 5",
    "C3xC3": "1 1* 1* 1* 1*",
    "C3xS3": "1 1 1* 1* 2 2*",
}


def counted(irreps: list[Irrep] | tuple[Irrep, ...]) -> str:
    return " ".join(sorted(f"{each.dimension}{'*' * each.paired}" for each in irreps))


@pytest.mark.parametrize("name", COUNTS)
def test_the_closed_forms_are_complete(name: str) -> None:
    irreps = irreps_of(named(name))  # checks homomorphism, orthogonality and Σ d² = n
    assert counted(irreps) == COUNTS[name]
    assert irreps[0].name == "trivial"
    np.testing.assert_allclose(irreps[0].character, 1, atol=1e-9)


@pytest.mark.parametrize("name", COUNTS)
def test_a_group_that_is_known_by_its_table_alone_has_the_same_characters(name: str) -> None:
    group = named(name)
    closed, found = irreps_of(group), irreps_of(replace(group, family=()))
    characters = np.array([each.character for each in closed])
    for other in found:
        products = np.abs(characters @ np.array([other.character, other.character.conj()]).T)
        assert np.isclose(products.max(0), group.order).any()


def test_the_character_table_of_s4() -> None:
    """Columns: 1, a swap, two swaps, a cycle of three, a cycle of four."""
    group = named("S4")
    columns = [group.elements.index(each) for each in ("1234", "2134", "2143", "2314", "2341")]
    rows = {each.name: each.character[columns].round(9).tolist() for each in irreps_of(group)}
    assert rows == {
        "trivial": [1, 1, 1, 1, 1],
        "sign": [1, -1, 1, 1, -1],
        "standard": [3, 1, -1, 0, -1],
        "standard-sign": [3, -1, -1, 0, 1],
        "2+2": [2, 0, 2, -1, 0],
    }


def test_the_two_halves_of_a5_have_the_golden_ratio() -> None:
    group = named("A5")
    five_cycle = group.elements.index("23451")
    halves = [each for each in irreps_of(group) if each.dimension == 3]
    golden = (1 + 5**0.5) / 2
    assert sorted(float(each.character[five_cycle]) for each in halves) == pytest.approx(
        [1 - golden, golden]
    )


def test_the_standard_representation_counts_fixed_points() -> None:
    group = named("S5")
    fixed = [sum(str(at) == image for at, image in enumerate(each, 1)) for each in group.elements]
    standard = next(each for each in irreps_of(group) if each.name == "standard")
    np.testing.assert_allclose(standard.character, np.array(fixed) - 1, atol=1e-9)


def test_matrices_are_unitary() -> None:
    for name in ("S5", "A5", "Q12", "C3xS3"):
        for irrep in irreps_of(named(name)):
            products = irrep.matrices @ irrep.matrices.conj().transpose(0, 2, 1)
            np.testing.assert_allclose(products - np.eye(irrep.dimension), 0, atol=1e-9)


def test_what_is_no_complete_set_is_found_out() -> None:
    group = named("S3")
    trivial, sign, standard = irreps_of(group)
    with pytest.raises(ArithmeticError, match="missing"):
        check(group, [trivial, standard])
    with pytest.raises(ArithmeticError, match="reducible or the same"):
        check(group, [trivial, sign, sign])
    with pytest.raises(ArithmeticError, match="not a homomorphism"):
        check(group, [trivial, sign, replace(standard, matrices=standard.matrices * 1.01)])


def test_a_table_s_representations_are_the_same_each_time() -> None:
    group = replace(named("D6"), family=())
    for one, other in zip(decomposed(group), decomposed(group), strict=True):
        assert (one.name, one.paired) == (other.name, other.paired)
        np.testing.assert_array_equal(one.matrices, other.matrices)


def test_tableaux_of_all_partitions_count_permutations() -> None:
    for n in (3, 5, 6):
        sizes = {each: len(standard_tableaux(each)) for each in partitions(n)}
        assert sum(size**2 for size in sizes.values()) == int(np.prod(np.arange(1, n + 1)))
        assert all(sizes[conjugate(each)] == size for each, size in sizes.items())
