"""NumPy's numbers in a pickle are read as numbers; what else goes by their names is not."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mechgrok.errors import UserError
from mechgrok.exchange.importing.reading import read_content

ran: list[str] = []


@pytest.mark.parametrize(
    "number",
    [np.float64(0.1), np.float32(0.5), np.float16(2), np.int64(-3), np.uint8(7), np.bool_(True)],
)
def test_numbers_are_read(number: Any, tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2), "kept": [number]}, tmp_path / "a.pth")
    (kept,) = read_content(tmp_path / "a.pth")["kept"]
    assert type(kept) in (bool, int, float)
    assert kept == number


def test_the_other_byte_order_is_read(tmp_path: Path) -> None:
    swapped = np.array([258], ">i4")[0]
    other = pickle.dumps(np.dtype(">i4").type(swapped))
    assert other
    torch.save(
        {"w": torch.ones(2), "n": np.frombuffer(b"\x00\x00\x01\x02", ">i4")[0]}, tmp_path / "a.pth"
    )
    assert read_content(tmp_path / "a.pth")["n"] == 258


class _Call:
    """Pickled as a call of a function by name, as a hostile file would have it."""

    def __init__(self, function: Any, *given: Any, state: Any = None) -> None:
        self.function, self.given, self.state = function, given, state

    def __reduce__(self) -> Any:
        made = (self.function, self.given)
        return made if self.state is None else (*made, self.state)


def run() -> None:
    """What a hostile file calls."""
    ran.append("it ran")


scalar = np.float64(0).__reduce__()[0]
HOSTILE = {
    "a function": _Call(run),
    "an array": np.ones(3),
    "an array of objects": np.array([_Call(run)], dtype=object),
    "an object as a number": _Call(scalar, np.dtype("O"), "x"),
    "a type of objects": np.dtype("O"),
    "a type of records": np.dtype([("a", "f8")]),
    "a type by words": _Call(np.dtype, "float64, (1000000000,)i8"),
    "a type from a dictionary": _Call(np.dtype, {"names": ["a"], "formats": ["O"]}),
    "a type with another state": _Call(np.dtype, "f8", state=(3, "|O", None)),
    "a type with a dictionary for state": _Call(np.dtype, "f8", state={"name": "O"}),
    "a number of too few bytes": _Call(scalar, np.dtype("f8"), b"123"),
    "a number of no type": _Call(scalar, "f8", b"12345678"),
    "a number of nothing": _Call(scalar),
    "a text": np.str_("words"),
    "a date": np.datetime64("2020-01-01"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_else_is(name: str, tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2), "x": HOSTILE[name]}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"was not loaded|is damaged"):
        read_content(tmp_path / "a.pth")
    assert not ran


def test_nothing_is_allowed_beyond_the_reading(tmp_path: Path) -> None:
    torch.save({"n": np.float64(1)}, tmp_path / "a.pth")
    read_content(tmp_path / "a.pth")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "a.pth", weights_only=True)
