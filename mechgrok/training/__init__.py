"""Training: the loop, evaluation, dropout, run recording, and training runs together."""

from lazy_loader import attach_stub

from mechgrok.moved import with_old_names

_get, __dir__, __all__ = attach_stub(__name__, __file__)
__getattr__ = with_old_names(__name__, _get)
