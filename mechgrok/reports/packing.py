"""Compressing figures and plotly.js to text in a page, which unpacks them when they are visible.

A packed figure is gzip, in base64, of: the length of its JSON (4 bytes, little-endian), the JSON,
and the concatenated numbers of its arrays. The JSON contains each array's position
(``{"dtype": "f4", "shape": "3, 4", "at": 96, "bytes": 48}``); the page's script restores the array.
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

#: Bits to keep of a mantissa: four digits, and three for a heatmap's cells (z), as hover shows.
_BITS, _BITS_OF_CELLS = 14, 11
#: Arrays start at multiples of this, as JavaScript's typed arrays must.
_WORD = 8


def pack(figure: go.Figure) -> str:
    """Compress a figure to text, a fifth the size of its JSON.

    Rounds fractions to four digits and the cells of heatmaps to three, and 64-bit floats to 32
    bits. Further digits are invisible, also in hover, and do not compress.
    """
    arrays = _Arrays()
    text = json.dumps(
        arrays.externalize_arrays(json.loads(str(figure.to_json()))), separators=(",", ":")
    ).encode()
    text += b" " * (-(len(text) + 4) % _WORD)
    content = len(text).to_bytes(4, "little") + text + bytes(arrays.numbers)
    return base64.b64encode(gzip.compress(content, 6, mtime=0)).decode()


def unpack(packed: str) -> dict[str, Any]:
    """Restore a figure from `pack`'s text, with NumPy arrays."""
    content = gzip.decompress(base64.b64decode(packed))
    end = 4 + int.from_bytes(content[:4], "little")

    def array(spec: dict[str, Any]) -> Any:
        if not spec.keys() >= {"dtype", "at", "bytes"}:
            return spec
        at = end + spec["at"]
        numbers = np.frombuffer(content[at : at + spec["bytes"]], spec["dtype"])
        shape = spec.get("shape")
        return numbers.reshape([int(n) for n in str(shape).split(",")]) if shape else numbers

    figure: dict[str, Any] = json.loads(content[4:end], object_hook=array)
    return figure


@lru_cache(maxsize=1)
def packed_plotly() -> str:
    """plotly.js, compressed from 4.8 MB to 2 MB."""
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()


def script() -> str:
    """The script that unpacks and shows figures: ``loadPlotly()`` and ``show(place, id)``."""
    return (Path(__file__).parent / "figure.js").read_text(encoding="utf-8")


def style() -> str:
    """The style sheet of figures and their pages in light and dark."""
    return (Path(__file__).parent / "figure.css").read_text(encoding="utf-8")


class _Arrays:
    """The concatenated numbers of a figure's arrays, without duplicates."""

    def __init__(self) -> None:
        self.numbers = bytearray()
        self._at: dict[bytes, int] = {}

    def externalize_arrays(self, part: Any, name: str = "") -> Any:
        """Replace the arrays in JSON by their positions in ``numbers``."""
        if isinstance(part, list):
            return [self.externalize_arrays(item, name) for item in part]
        if not isinstance(part, dict):
            return part
        if "bdata" not in part:
            return {key: self.externalize_arrays(value, key) for key, value in part.items()}
        array = np.frombuffer(base64.b64decode(part["bdata"]), part["dtype"])
        array = _round_mantissa(array, _BITS_OF_CELLS if name == "z" else _BITS)
        spec = {"dtype": f"{array.dtype.kind}{array.dtype.itemsize}", **self._append(array)}
        return spec | ({"shape": part["shape"]} if "shape" in part else {})

    def _append(self, array: np.ndarray) -> dict[str, int]:
        content = array.tobytes()
        if content not in self._at:
            self._at[content] = len(self.numbers)
            self.numbers += content + bytes(-len(content) % _WORD)
        return {"at": self._at[content], "bytes": len(content)}


def _round_mantissa(numbers: np.ndarray, bits: int) -> np.ndarray:
    """Round the mantissas of floats to ``bits`` bits; whole numbers are unchanged."""
    if numbers.dtype.kind != "f":
        return numbers
    with np.errstate(invalid="ignore", over="ignore"):
        mantissa, exponent = np.frexp(numbers)
        rounded = np.ldexp(np.round(mantissa * 2**bits) / 2**bits, exponent)
        numbers = np.where(numbers == np.round(numbers), numbers, rounded)
        narrow = numbers.astype(np.float32)
        return narrow if np.array_equal(narrow, numbers, equal_nan=True) else numbers
