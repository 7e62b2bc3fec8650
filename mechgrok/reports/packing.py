"""Figures and plotly.js as compressed text in a page, which unpacks them when they are seen.

A packed figure is gzip, in base64, of: the length of its JSON (4 bytes, little-endian), the JSON,
and the numbers of its arrays one after another. In the JSON an array says where it lies
(``{"dtype": "f4", "shape": "3, 4", "at": 96, "bytes": 48}``); the page's script puts it back.
"""

import base64
import gzip
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

#: Bits of a number's mantissa that are kept: four digits, and three of a picture's cells (z), as
#: many as hover writes.
_BITS, _BITS_OF_CELLS = 14, 11
#: Arrays start at multiples of this, as JavaScript's typed arrays must.
_WORD = 8


def pack(figure: go.Figure) -> str:
    """The figure as text, a fifth as large as its JSON.

    Numbers that are not whole are kept to four digits, cells of pictures to three; floats of 64
    bits become floats of 32. More can neither be seen nor read from hover, and does not compress.
    """
    arrays = _Arrays()
    text = json.dumps(
        arrays.externalize_arrays(json.loads(str(figure.to_json()))), separators=(",", ":")
    ).encode()
    text += b" " * (-(len(text) + 4) % _WORD)
    whole = len(text).to_bytes(4, "little") + text + bytes(arrays.numbers)
    return base64.b64encode(gzip.compress(whole, 6, mtime=0)).decode()


def unpack(packed: str) -> dict[str, Any]:
    """The figure in `pack`'s text, its arrays as NumPy's."""
    whole = gzip.decompress(base64.b64decode(packed))
    end = 4 + int.from_bytes(whole[:4], "little")

    def array(spec: dict[str, Any]) -> Any:
        if not spec.keys() >= {"dtype", "at", "bytes"}:
            return spec
        at = end + spec["at"]
        numbers = np.frombuffer(whole[at : at + spec["bytes"]], spec["dtype"])
        shape = spec.get("shape")
        return numbers.reshape([int(n) for n in str(shape).split(",")]) if shape else numbers

    found: dict[str, Any] = json.loads(whole[4:end], object_hook=array)
    return found


@lru_cache(maxsize=1)
def packed_plotly() -> str:
    """plotly.js, 4.8 MB of it in 2."""
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()


def script() -> str:
    """What unpacks and shows figures in a page: ``loadPlotly()`` and ``show(place, id)``."""
    return (Path(__file__).parent / "figure.js").read_text(encoding="utf-8")


class _Arrays:
    """The numbers of a figure's arrays, one after another; equal arrays lie there once."""

    def __init__(self) -> None:
        self.numbers = bytearray()
        self._at: dict[bytes, int] = {}

    def externalize_arrays(self, part: Any, name: str = "") -> Any:
        """The JSON with places in ``numbers`` instead of arrays."""
        if isinstance(part, list):
            return [self.externalize_arrays(each, name) for each in part]
        if not isinstance(part, dict):
            return part
        if "bdata" not in part:
            return {inner: self.externalize_arrays(each, inner) for inner, each in part.items()}
        array = np.frombuffer(base64.b64decode(part["bdata"]), part["dtype"])
        array = _round_mantissa(array, _BITS_OF_CELLS if name == "z" else _BITS)
        spec = {"dtype": f"{array.dtype.kind}{array.dtype.itemsize}", **self._placed(array)}
        return spec | ({"shape": part["shape"]} if "shape" in part else {})

    def _placed(self, array: np.ndarray) -> dict[str, int]:
        content = array.tobytes()
        if content not in self._at:
            self._at[content] = len(self.numbers)
            self.numbers += content + bytes(-len(content) % _WORD)
        return {"at": self._at[content], "bytes": len(content)}


def _round_mantissa(numbers: np.ndarray, bits: int) -> np.ndarray:
    """Floats with so many bits of their mantissa; whole numbers as they are."""
    if numbers.dtype.kind != "f":
        return numbers
    with np.errstate(invalid="ignore", over="ignore"):
        mantissa, exponent = np.frexp(numbers)
        rounded = np.ldexp(np.round(mantissa * 2**bits) / 2**bits, exponent)
        numbers = np.where(numbers == np.round(numbers), numbers, rounded)
        narrow = numbers.astype(np.float32)
        return narrow if np.array_equal(narrow, numbers, equal_nan=True) else numbers
