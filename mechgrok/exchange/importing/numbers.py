"""Loading NumPy scalars from pickles, in which training scripts save losses and steps.

torch's safe loader does not support NumPy. These stand-ins replace NumPy's constructors, so none of
its functions is called: a type is one of a few plain numeric types, and a scalar becomes a Python
number. Arrays and all other objects are refused.
"""

import re
from pickle import UnpicklingError
from typing import Any, Self

import numpy as np

#: Booleans, integers and floating-point numbers of the usual sizes.
_PLAIN = re.compile(r"b1|[iu][1248]|f[248]")
#: NumPy's constructor of scalars, before and since version 2.
_MAKERS = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")


class _Kind:
    """Stand-in for ``numpy.dtype``, limited to plain numeric types."""

    order = "="

    def __new__(cls, *arguments: Any) -> Self:
        kind = super().__new__(cls)
        kind.name = arguments[0] if arguments else None
        if not isinstance(kind.name, str) or not _PLAIN.fullmatch(kind.name):
            raise UnpicklingError("GLOBAL numpy.dtype of something else than plain numbers")
        return kind

    name: str | None

    def __setstate__(self, state: Any) -> None:
        """Set the byte order from the pickled state."""
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if order not in ("<", ">", "|", "="):
            raise UnpicklingError("GLOBAL numpy.dtype with another state")
        self.order = order


def _scalar(kind: Any = None, content: Any = None, *more: Any) -> bool | int | float:
    """Stand-in for NumPy's ``scalar``: decode the number's bytes."""
    if not isinstance(kind, _Kind) or not isinstance(content, bytes) or more:
        raise UnpicklingError("GLOBAL numpy scalar of something else than bytes")
    dtype = np.dtype(f"{kind.order}{kind.name}")
    if len(content) != dtype.itemsize:
        raise UnpicklingError("GLOBAL numpy scalar of another size")
    return np.frombuffer(content, dtype)[0].item()


#: For `torch.serialization.safe_globals`.
NUMBERS: list[Any] = [(_Kind, "numpy.dtype"), *((_scalar, maker) for maker in _MAKERS)]
