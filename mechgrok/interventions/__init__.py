"""What may be done to a network, as values: hooks, TOML and Python source are made of them."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
