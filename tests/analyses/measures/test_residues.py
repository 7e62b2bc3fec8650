"""The order of residues in which a task is a shift."""

import pytest

from mechgrok.analyses.measures.residues import natural_order, residues
from mechgrok.errors import UserError
from mechgrok.tasks import make_task


def test_products_are_shifts_in_the_discrete_logarithm() -> None:
    assert natural_order(make_task("mul", p=7)) == "multiplicative"
    assert natural_order(make_task("div", p=7)) == "multiplicative"
    assert natural_order(make_task("mul", p=8)) == "additive"
    assert natural_order(make_task("sub", p=7)) == "additive"
    assert residues(make_task("mul", p=7)).tolist() == [1, 3, 2, 6, 4, 5]
    assert residues(make_task("mul", p=7), "additive").tolist() == list(range(7))
    with pytest.raises(UserError, match=r"8 .*prime"):
        residues(make_task("add", p=8), "multiplicative")


def test_modulo_2_there_is_no_logarithm_with_waves() -> None:
    """1 is the only residue but 0: products stand in additive order, where 1 is a frequency."""
    assert natural_order(make_task("mul", p=2)) == "additive"
    with pytest.raises(UserError, match="additive"):
        residues(make_task("mul", p=2), "multiplicative")
