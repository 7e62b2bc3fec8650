"""The IDX format of MNIST and similar data sets."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import Num

from mechgrok.errors import UserError
from mechgrok.files import read_bytes

_DTYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def read_idx(path: Path) -> Num[np.ndarray, "..."]:
    """Read the array in an IDX file, gzipped or not, whatever its name.

    The format: two zero bytes, a byte for the type, a byte for the number of dimensions, each
    dimension as a big-endian 32-bit number, then the entries in row-major order.

    Raises:
        UserError: the file is missing, truncated, too long, or not IDX.
    """
    try:
        content = read_bytes(path)
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(
            f"{path} cannot be read ({error}): download the file again, it may be truncated."
        ) from None
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _DTYPES:
        raise UserError(
            f"{path} is not an IDX file: it begins with {content[:4].hex(' ') or 'nothing'} "
            "instead of a magic number such as 00 00 08 03."
        )
    dtype, start = np.dtype(_DTYPES[content[2]]), 4 + 4 * content[3]
    shape = tuple(np.frombuffer(content[4:start].ljust(start - 4, b"\0"), ">u4").tolist())
    expected = start + math.prod(shape) * dtype.itemsize
    if len(content) < start or len(content) != expected:
        raise UserError(
            f"{path} is {'truncated' if len(content) < expected else 'too long'}: its header "
            f"declares {expected} bytes, but it has {len(content)}."
        )
    return np.frombuffer(content[start:], dtype).reshape(shape)
