"""One grammar for several values."""

import pytest

from mechgrok.errors import UserError
from mechgrok.grammar import as_values, parse_value, parse_values, show_value


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.3,1,3", [0.3, 1, 3]),
        ("0:8", list(range(8))),
        ("5:6", [5]),
        ("0.1:0.9:0.1", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]),
        ("0.80:0.90:0.01", [round(0.80 + k / 100, 2) for k in range(11)]),
        ("0:30000:10000", [0, 10000, 20000, 30000]),
        ("0:25:10", [0, 10, 20]),
        ("3:0:-1", [3, 2, 1, 0]),
        ("1e-3,1e-2", [0.001, 0.01]),
        ("adamw, sgd", ["adamw", "sgd"]),
        ("none,true,false", [None, True, False]),
        ("1,true", [1, True]),
        ("2,2,1:3", [2, 1]),
        ("tasks.py:mine", ["tasks.py:mine"]),
        ("-1:1:0.5", [-1.0, -0.5, 0.0, 0.5, 1.0]),
    ],
)
def test_values(text: str, values: list) -> None:
    parsed = parse_values(text)
    assert parsed == values
    assert [type(value) for value in parsed] == [type(value) for value in values]


@pytest.mark.parametrize("text", ["", "1,,2", "8:8", "3:1", "0:1:0", "0.1:0.5", "0:1:1e-9", "0:0"])
def test_what_holds_no_values_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        parse_values(text)


def test_several_values_in_python() -> None:
    assert as_values(range(3)) == [0, 1, 2]
    assert as_values((0.3, None)) == [0.3, None]
    assert as_values(None) == [None]
    with pytest.raises(UserError, match="one"):
        as_values([])


@pytest.mark.parametrize("value", [0, 12, 0.3, 1e-5, None, True, False, "adamw", -2.5])
def test_a_value_that_is_shown_is_read_back(value: object) -> None:
    assert parse_value(show_value(value)) == value  # type: ignore[arg-type]
