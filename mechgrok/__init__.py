"""Train networks that grok, keep every checkpoint, and analyze the sequence."""

import sys

from lazy_loader import attach_stub

from mechgrok.moved import MovedModules

sys.meta_path.insert(0, MovedModules())  # before what would find a copy below an old name
_load, __dir__, __all__ = attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("mechgrok")
    return _load(name)
