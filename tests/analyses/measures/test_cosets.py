"""Functions that are constant on cosets are found out, on either side, noisy or not."""

import numpy as np
import pytest

from mechgrok.analyses.measures.cosets import concentration, coset_structure, cosets_of, subgroup
from mechgrok.tasks.groups.families import named


def test_cosets_partition_the_group() -> None:
    s4 = named("S4")
    members = subgroup(s4.table, np.array([s4.elements.index("2143"), s4.elements.index("3412")]))
    assert len(members) == 4
    for left in (True, False):
        cosets = cosets_of(s4, members, left=left)
        assert sorted(cosets.ravel().tolist()) == list(range(24))
        assert members.tolist() in np.sort(cosets).tolist()
    swap = subgroup(s4.table, np.array([s4.elements.index("2134")]))
    left, right = (np.sort(cosets_of(s4, swap, left=side)).tolist() for side in (True, False))
    assert sorted(left) != sorted(right)  # it is not normal


@pytest.mark.parametrize(("read", "left"), [("image", False), ("preimage", True)])
def test_what_depends_on_where_one_point_goes_is_constant_on_cosets_of_s4(
    read: str, left: bool
) -> None:
    """a first, then b: where 2 goes is not changed by what a product begins with fixing 2."""
    s5 = named("S5")
    where = np.array([int(name[1]) if read == "image" else name.index("2") for name in s5.elements])
    noise = np.random.default_rng(0).standard_normal((120, 3))
    functions = np.array([3.0, -1, 4, 1.5, -9, 2])[where][:, None] + 0.05 * noise
    found = coset_structure(s5, functions)
    assert found.order.tolist() == [24] * 3
    assert (found.left == left).all()
    assert (found.concentration > 0.99).all()


def test_the_sign_is_constant_on_even_permutations() -> None:
    s4 = named("S4")
    sign = [(-1) ** sum(a > b for at, a in enumerate(e) for b in e[at:]) for e in s4.elements]
    found = coset_structure(s4, np.array(sign, dtype=float)[:, None])
    assert found.order.tolist() == [12]


def test_noise_is_constant_on_no_cosets_and_a_constant_on_all() -> None:
    s4 = named("S4")
    noise = np.random.default_rng(1).standard_normal((24, 50))
    assert (coset_structure(s4, noise).order == 1).all()
    constant = coset_structure(s4, np.full((24, 1), 3.0))
    assert constant.order.tolist() == [24]
    assert np.isnan(constant.concentration).all()


def test_noise_is_concentrated_as_the_degrees_of_freedom_say() -> None:
    s4 = named("S4")
    members = subgroup(s4.table, np.array([s4.elements.index("2143"), s4.elements.index("3412")]))
    noise = np.random.default_rng(2).standard_normal((24, 4000))
    mean = concentration(noise, cosets_of(s4, members, left=True)).mean()
    assert mean == pytest.approx(5 / 23, abs=0.01)
