"""Boolean arrays as text: eight bits to a byte, the bytes in base64."""

import base64
import binascii

import numpy as np
from jaxtyping import Bool

from mechgrok.errors import UserError


def pack_bits(bits: Bool[np.ndarray, "..."]) -> str:
    """The bits as text, in row-major order.

    >>> pack_bits(np.array([True, False, True]))
    'oA=='
    """
    return base64.b64encode(np.packbits(bits.ravel()).tobytes()).decode("ascii")


def unpack_bits(text: str, n: int) -> Bool[np.ndarray, " n"]:
    """Read ``n`` bits from the text of `pack_bits`.

    >>> unpack_bits("oA==", 3).tolist()
    [True, False, True]

    Raises:
        UserError: the text is not base64, or holds another number of bits.
    """
    try:
        packed = np.frombuffer(base64.b64decode(text, validate=True), dtype=np.uint8)
    except (binascii.Error, ValueError, TypeError):
        raise UserError(f"{str(text)[:20]!r} is not an array of bits in base64.") from None
    if not 0 < n <= 8 * len(packed) < n + 8:
        raise UserError(f"{n} bits were expected, but the text holds {8 * len(packed)}.")
    return np.unpackbits(packed, count=n).astype(bool)
