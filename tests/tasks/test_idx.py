"""The IDX format is read as it is written down, and refused where a file departs from it."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mechgrok.errors import UserError
from mechgrok.tasks.idx import read_idx

ARRAY = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_an_array_comes_back_gzipped_or_not(
    tmp_path: Path, idx: Callable[..., bytes], pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "array"
    path.write_bytes(pack(idx(ARRAY)))
    np.testing.assert_array_equal(read_idx(path), ARRAY)


@pytest.mark.parametrize(
    ("code", "dtype"), [(9, "i1"), (11, "i2"), (12, "i4"), (13, "f4"), (14, "f8")]
)
def test_every_type_of_the_format(
    tmp_path: Path, idx: Callable[..., bytes], code: int, dtype: str
) -> None:
    path = tmp_path / "array"
    array = np.array([[-1, 2], [3, -4]], dtype=dtype)
    path.write_bytes(idx(array, code))
    np.testing.assert_array_equal(read_idx(path), array)


@pytest.mark.parametrize(
    ("harm", "complaint"),
    [
        (lambda whole: whole[:-1], "40 bytes.* 39"),
        (lambda whole: whole[:9], "truncated"),
        (lambda whole: whole + b"\0", "broken"),
        (lambda whole: b"\x89PNG\r\n", "IDX .*89 50 4e 47"),
        (lambda whole: b"\0\0\x07\1\0\0\0\1\0", "IDX"),
        (lambda whole: b"", "IDX|nothing"),
        (lambda whole: gzip.compress(whole)[:-9], "broken"),
    ],
)
def test_a_file_that_is_not_whole_is_refused(
    tmp_path: Path,
    idx: Callable[..., bytes],
    harm: Callable[[bytes], bytes],
    complaint: str,
) -> None:
    path = tmp_path / "broken"
    path.write_bytes(harm(idx(ARRAY)))
    with pytest.raises(UserError, match=complaint):
        read_idx(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere"):
        read_idx(tmp_path / "nowhere")
