"""Training: the loop, its schedule, its optimizers, and the machine it runs on."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
