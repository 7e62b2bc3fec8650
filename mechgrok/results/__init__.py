"""Analyses, their answers, and the store of answers."""

from lazy_loader import attach_stub

from mechgrok.moved import with_old_names

_get, __dir__, __all__ = attach_stub(__name__, __file__)
__getattr__ = with_old_names(__name__, _get)
