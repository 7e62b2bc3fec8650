"""NumPy's numbers in pickles: training scripts save losses and steps as they come.

torch's safe loader knows nothing of NumPy. What it is told here stands in for NumPy's own
reconstruction, of which no function is called: a type is one of the few names of plain numbers, a
number its bytes, and what comes out is a number of Python's. Arrays and everything else stay
refused.
"""

import re
from pickle import UnpicklingError
from typing import Any, Self

import numpy as np

#: Booleans, integers and floating-point numbers of the usual sizes.
_PLAIN = re.compile(r"b1|[iu][1248]|f[248]")
#: Where NumPy says that a number is made, before and since version 2.
_MAKERS = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")


class _Kind:
    """Stands in for ``numpy.dtype``: the type of a plain number, and nothing else."""

    order = "="

    def __new__(cls, *given: Any) -> Self:
        kind = super().__new__(cls)
        kind.name = given[0] if given else None
        if not isinstance(kind.name, str) or not _PLAIN.fullmatch(kind.name):
            raise UnpicklingError("GLOBAL numpy.dtype of something else than plain numbers")
        return kind

    name: str | None

    def __setstate__(self, state: Any) -> None:
        """Take the byte order from what a pickle says of the type; there is nothing else to say."""
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if order not in ("<", ">", "|", "="):
            raise UnpicklingError("GLOBAL numpy.dtype with another state")
        self.order = order


def _scalar(kind: Any = None, content: Any = None, *more: Any) -> bool | int | float:
    """Stands in for NumPy's ``scalar``: the number that the bytes hold."""
    if not isinstance(kind, _Kind) or not isinstance(content, bytes) or more:
        raise UnpicklingError("GLOBAL numpy scalar of something else than bytes")
    dtype = np.dtype(f"{kind.order}{kind.name}")
    if len(content) != dtype.itemsize:
        raise UnpicklingError("GLOBAL numpy scalar of another size")
    return np.frombuffer(content, dtype)[0].item()


#: What `torch.serialization.safe_globals` is given.
NUMBERS: list[Any] = [(_Kind, "numpy.dtype"), *((_scalar, maker) for maker in _MAKERS)]
