"""NumPy's numbers in a pickle are read as numbers; what else goes by their names is not."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mechgrok.exchange.importing.content import read_content


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


def test_nothing_is_allowed_beyond_the_reading(tmp_path: Path) -> None:
    torch.save({"n": np.float64(1)}, tmp_path / "a.pth")
    read_content(tmp_path / "a.pth")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "a.pth", weights_only=True)
