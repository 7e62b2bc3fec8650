"""Groups are groups, in the order and the convention that their docstring tells."""

from math import factorial
from pathlib import Path

import numpy as np
import pytest
import torch

from mechgrok.configuration.run_config import RunConfig
from mechgrok.errors import UserError
from mechgrok.tasks import make_task, saved_task
from mechgrok.tasks.groups.cayley import pack_table, read_table, unpack_table
from mechgrok.tasks.groups.families import is_commutative, named, order_of
from mechgrok.tasks.groups.group import check_group, generators
from mechgrok.tasks.harmonics import no_harmonics

NAMES = ("C1", "C6", "D1", "D2", "D5", "D6", "Q4", "Q8", "Q12", "S1", "S2", "S4", "A2", "A4", "A5")
PRODUCTS = ("C3xS3", "C2xC2xC2", "D3xQ8")


@pytest.mark.parametrize("name", NAMES + PRODUCTS)
def test_each_is_a_group_of_the_order_that_is_told_without_making_it(name: str) -> None:
    group = named(name)
    check_group(group.table, name)
    assert group.order == order_of(name) == len(set(group.elements))
    assert is_commutative(name) == group.is_commutative


def test_orders() -> None:
    assert [order_of(f"S{n}") for n in (3, 5, 6)] == [factorial(n) for n in (3, 5, 6)]
    assert (order_of("A5"), order_of("D59"), order_of("Q16"), order_of("C3xS3")) == (
        60,
        118,
        16,
        18,
    )


def test_permutations_are_composed_from_the_left_in_lexicographic_order() -> None:
    s4 = named("S4")
    assert list(s4.elements) == sorted(s4.elements)
    for a, b in [(3, 20), (7, 11), (22, 5)]:
        first, then = s4.elements[a], s4.elements[b]
        both = "".join(then[int(image) - 1] for image in first)
        assert s4.elements[s4.table[a, b]] == both


def test_even_permutations_are_a_part_of_all_permutations() -> None:
    a4, s4 = named("A4"), named("S4")
    where = [s4.elements.index(each) for each in a4.elements]
    assert (s4.table[np.ix_(where, where)] == np.array(where)[a4.table]).all()


def test_a_reflection_turns_rotations_around() -> None:
    d5 = named("D5")
    r, s = d5.elements.index("r"), d5.elements.index("s")
    assert d5.elements[d5.table[s, r]] == "r⁴s"
    assert d5.elements[d5.table[r, s]] == "rs"
    assert d5.table[s, s] == d5.identity


def test_q8_has_one_element_of_order_two() -> None:
    q8 = named("Q8")
    assert [q8.elements[a] for a in range(8) if a and q8.table[a, a] == 0] == ["x²"]
    x, y = q8.elements.index("x"), q8.elements.index("y")
    assert q8.elements[q8.table[y, x]] == "x³y"


def test_a_product_composes_each_part_alone() -> None:
    product, c3, s3 = named("C3xS3"), named("C3"), named("S3")
    a, b = 2 * 6 + 4, 1 * 6 + 3
    assert product.table[a, b] == c3.table[2, 1] * 6 + s3.table[4, 3]
    assert product.elements[a] == "(2, 312)"


def test_the_generators_of_s5_reach_it() -> None:
    group = named("S5")
    assert len(generators(group.table)) < 8
    assert group.table[group.inverse, np.arange(120)].tolist() == [group.identity] * 120


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("S8", "5,040"),
        ("S9999", "5,040"),
        ("C71xC72", "5,040"),
        ("Q6", "'Q6'"),
        ("C0", "'C0'"),
        ("A2", "A2"),
        ("Z5", "'Z5'.*C12"),
        ("C3x", "'C3x'"),
        ("", "''"),
        ("nowhere.csv", "nowhere.csv"),
    ],
)
def test_what_is_no_group_is_refused(name: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        make_task("group", group=name)


# --- the task -----------------------------------------------------------------------------------


def test_the_task_is_the_table() -> None:
    task = make_task("group", group="S4", equals=True)
    inputs, labels = task.examples
    assert len(labels) == task.n_examples == 24**2
    assert (task.d_vocab, task.d_output) == (25, 24)
    assert (named("S4").table[inputs[:, 0], inputs[:, 1]] == labels.numpy()).all()
    assert set(inputs[:, 2].tolist()) == {24}
    assert task.vocabulary[1] == "1243"


def test_an_objective_for_two_classes_is_for_groups_of_two_elements() -> None:
    with pytest.raises(UserError, match=r"6.*cross-entropy"):
        RunConfig.make(task={"name": "group", "group": "S3", "objective": "hinge"})
    task = make_task("group", group="C2", objective="hinge", equals=True)
    assert (task.d_output, task.d_vocab, int(task.examples.inputs.max())) == (1, 3, 2)
    signs = task.examples.labels[:, None] * 2.0 - 1
    assert (task.accuracy(signs, task.examples.labels), task.loss(signs, task.examples.labels)) == (
        1,
        0,
    )
    assert "whose sign is the answer" in str(no_harmonics(task))


def test_a_cyclic_group_is_addition() -> None:
    add, group = make_task("add", p=7, pairs="ordered"), make_task("group", group="C7")
    for own, other in zip(add.train, group.train, strict=True):
        assert torch.equal(own, other)


# --- a table of one's own -----------------------------------------------------------------------

KLEIN = "# Klein's four-group\n0 1 2 3\n1,0,3,2\n2, 3, 0, 1\n3 2 1 0\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.csv"
    path.write_text(text)
    return path


def test_a_table_of_one_s_own_goes_into_the_settings(tmp_path: Path) -> None:
    path = written(tmp_path, KLEIN)
    task = make_task("group", group=str(path))
    path.unlink()
    again = saved_task(**task.model_dump())
    assert again == task
    assert (again.group, again.d_output) == ("mine", 4)  # type: ignore[attr-defined]
    assert torch.equal(again.examples.labels, make_task("group", group="C2xC2").examples.labels)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "0 lines"),
        ("0 1\n1\n", "line 2,"),
        ("0 x\n1 0\n", "line 1,.*'x'"),
        ("0 -1\n1 0\n", "'-1'"),
        ("0 99999999999999999999999\n1 0\n", "closed"),
        ("1 2\n2 1\n", "from 0"),
        ("1 0\n1 0\n", "identity"),
        ("0 1\n1 1\n", "1 .*inverse"),
        # the smallest loop that is no group, of five elements
        (
            "0 1 2 3 4\n1 0 3 4 2\n2 4 0 1 3\n3 2 4 0 1\n4 3 1 2 0\n",
            r"mine.csv .*\(1·1\)·2 .*1·\(1·2\)",
        ),
    ],
)
def test_a_table_that_is_no_group_s_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        read_table(written(tmp_path, text))


def test_a_table_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"mine.csv"):
        read_table(path)


@pytest.mark.parametrize("damaged", ["", "AAAA", "x", pack_table(np.array([[0, 1]])), "é"])
def test_a_damaged_table_in_the_settings_is_refused(damaged: str) -> None:
    with pytest.raises(UserError, match="--group"):
        saved_task("group", group="mine", table=damaged)


def test_a_table_is_packed_and_back() -> None:
    table = named("S5").table
    assert (unpack_table(pack_table(table), "S5") == table).all()


def test_a_larger_cancelled_table_is_found_out() -> None:
    """One wrong entry in a hundred thousand is enough to be no group."""
    table = named("C300").table.copy()
    table[[7, 8], 5] = table[[8, 7], 5]
    with pytest.raises(UserError, match="group"):
        check_group(table, "it")
