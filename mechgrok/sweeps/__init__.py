"""Sweeps: the plan of many runs, what makes them, and the class that opens them."""

import warnings

from lazy_loader import attach_stub

_load, __dir__, __all__ = attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    if name == "Where":
        warnings.warn("mechgrok.sweeps.Where is now Executor.", DeprecationWarning, stacklevel=2)
        name = "Executor"
    return _load(name)
