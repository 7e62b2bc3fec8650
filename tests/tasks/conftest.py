"""Writing files as data sets are published."""

import struct
from collections.abc import Callable

import numpy as np
import pytest


@pytest.fixture
def idx() -> Callable[..., bytes]:
    """The content of the IDX file of an array, whose type has the number ``code``."""

    def write(array: np.ndarray, code: int = 8) -> bytes:
        header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
        return header + array.astype(array.dtype.newbyteorder(">")).tobytes()

    return write
