"""Polynomials are read as they are written, computed as Python would, and nothing is executed."""

import pytest
import torch

from mechgrok.errors import UserError
from mechgrok.tasks import make_task
from mechgrok.tasks.expressions import parse
from mechgrok.tasks.harmonics import no_harmonics


@pytest.mark.parametrize(
    ("text", "f"),
    [
        ("x^3 + x*y", lambda x, y: x**3 + x * y),
        ("x³ + xy", lambda x, y: x**3 + x * y),
        ("x**2+xy+y**2", lambda x, y: x**2 + x * y + y**2),
        ("-x + 3y^2 - 7", lambda x, y: -x + 3 * y**2 - 7),
        ("2x2y^0*3", lambda x, y: 12 * x),
        ("x^12 y", lambda x, y: x**12 * y),
        ("x - x", lambda x, y: 0),
        ("5", lambda x, y: 5),
        ("99999999999999999999 x", lambda x, y: 99999999999999999999 * x),
    ],
)
@pytest.mark.parametrize("p", [2, 7, 97])
def test_labels_are_what_the_expression_says(text: str, f, p: int) -> None:
    task = make_task("expression", expression=text, p=p, pairs="ordered")
    for (x, y), c in zip(task.pair.tolist(), task.examples.labels.tolist(), strict=True):
        assert c == f(x, y) % p


def test_like_terms_are_one() -> None:
    assert parse("x*y + yx + 2 - 2") == {(1, 1): 2}


@pytest.mark.parametrize(
    "text",
    ["", " ", "+", "x +", "x^", "x^-1", "x^y", "(x)", "x/y", "z", "x + __import__('os')", "x^2^3",
     "1.5x", "* x", "x ** ** 2", "a+b", "x²³^2", "٣x", "x\x00"],
)  # fmt: skip
def test_what_is_no_polynomial_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="polynomial"):
        make_task("expression", expression=text)


@pytest.mark.parametrize("text", ["x^1001", "x^600 y^600", "x^999999999999999999999", "x" * 1001])
def test_what_is_too_large_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"long|power"):
        make_task("expression", expression=text)


def test_pairs_are_unordered_where_x_and_y_can_be_exchanged() -> None:
    assert make_task("expression", expression="x*y + x + y").pairs == "unordered"
    assert make_task("expression", expression="x^3 + x*y").pairs == "ordered"
    with pytest.raises(UserError, match=r"x - y .*--pairs ordered"):
        make_task("expression", expression="x - y", pairs="unordered")


def test_it_is_addition_where_it_says_so() -> None:
    own, add = (
        make_task("expression", expression="x + y", p=11),
        make_task("add", p=11),
    )
    for one, other in zip(own.train, add.train, strict=True):
        assert torch.equal(one, other)


def test_questions_about_frequencies_are_asked_where_answers_add() -> None:
    for text in ("x + y", "x^2 + 3y^3", "2x - 5"):
        assert no_harmonics(make_task("expression", expression=text)) is None
    mixed = no_harmonics(make_task("expression", expression="x^3 + x*y", p=13))
    assert mixed is not None
    assert "x^3 + x*y mod 13" in mixed
    assert "mixes x and y" in mixed
