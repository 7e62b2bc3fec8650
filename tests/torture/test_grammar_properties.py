"""What is shown is read back: values, ranges, steps, settings; and nothing but a sentence else."""

import contextlib
import json
from decimal import Decimal
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from mechgrok.cli.flags import nested
from mechgrok.errors import UserError
from mechgrok.grammar import Value, as_values, parse_value, parse_values, show_value
from mechgrok.runs.steps import parse_steps

words = st.from_regex(r"[a-z_][a-z_0-9.]{0,12}(:[a-z_]{1,8})?", fullmatch=True).filter(
    lambda word: word not in ("true", "false", "none", "null")
)
numbers = st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
values: st.SearchStrategy[Value] = numbers | st.booleans() | st.none() | words
names = st.from_regex(r"[a-z_][a-z_0-9]{0,8}", fullmatch=True)


def same(one: object, other: object) -> bool:
    """True == 1 in Python, but they are two values."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


@given(values)
def test_a_value_that_is_shown_is_read_back(value: Value) -> None:
    assert same(parse_value(show_value(value)), value)


@given(st.lists(values, min_size=1, max_size=8))
def test_so_are_several_each_once(several: list[Value]) -> None:
    read = parse_values(",".join(map(show_value, several)))
    assert all(any(same(value, found) for found in read) for value in several)
    assert len(read) == len({(isinstance(value, bool), value) for value in several})
    assert as_values(several) == several


@given(st.integers(-(10**9), 10**9), st.integers(1, 300))
def test_a_range_of_whole_numbers_is_pythons(start: int, count: int) -> None:
    assert parse_values(f"{start}:{start + count}") == list(range(start, start + count))


@given(
    st.decimals(-1000, 1000, places=3),
    st.decimals("-10", "10", places=3).filter(bool),
    st.integers(0, 300),
    st.decimals(0, 1, places=3).filter(lambda share: share < 1),
)
def test_a_range_of_decimals_is_as_it_would_be_written(
    start: Decimal, step: Decimal, n: int, share: Decimal
) -> None:
    """start, start + step, … up to a stop that lies less than a step beyond the last."""
    read = parse_values(f"{start}:{start + step * (n + share)}:{step}")
    assert read == [float(start + k * step) for k in range(n + 1)]


@given(st.text(alphabet="0123456789.,:-+eE _xnif\u0664\u00b2", max_size=20) | st.text(max_size=20))
def test_any_text_is_values_or_refused_in_a_sentence(text: str) -> None:
    try:
        read = parse_values(text)
    except UserError:
        return
    assert read
    assert parse_values(",".join(map(show_value, read))) == read or '"' in text


steps = st.lists(st.integers(0, 10**6), min_size=1, max_size=30, unique=True).map(sorted)


@given(steps, st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 1000))
def test_a_range_of_steps_takes_those_that_exist(
    known: list[int], start: int, stop: int, every: int
) -> None:
    wanted = [s for s in known if start <= s <= (stop or known[-1]) and (s - start) % every == 0]
    try:
        assert parse_steps(f"{start}:{stop}:{every}", known) == wanted
    except UserError:
        assert not wanted


@given(steps, st.lists(st.integers(0, 10**8), min_size=1, max_size=8))
def test_single_steps_are_taken_as_they_are(known: list[int], single: list[int]) -> None:
    assert parse_steps(",".join(map(str, single)), known) == sorted(set(single))
    assert parse_steps(f"{single[0]}, last", known) == sorted({single[0], known[-1]})


@given(steps, st.text(alphabet="0123456789,:-lastx \u0664", max_size=20))
def test_any_text_is_steps_or_refused(known: list[int], text: str) -> None:
    with contextlib.suppress(UserError):
        assert parse_steps(text, known)


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.tuples(names, names), json_values, max_size=5))
def test_settings_arrive_under_their_paths(given_: dict[tuple[str, str], Any]) -> None:
    assume(not any(part in ("task", "model", "training") for part, _ in given_))
    assignments = [f"{'.'.join(path)}={json.dumps(value)}" for path, value in given_.items()]
    settings = nested({}, assignments)
    assert settings.keys() == {part for part, _ in given_}
    assert all(settings[part][key] == value for (part, key), value in given_.items())


@given(st.lists(st.text(alphabet='ab.=[]{}1, "', max_size=12), max_size=4))
def test_any_settings_are_taken_or_refused(assignments: list[str]) -> None:
    with contextlib.suppress(UserError):
        assert isinstance(nested({}, assignments), dict)
