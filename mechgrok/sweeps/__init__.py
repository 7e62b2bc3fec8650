"""Many runs as one thing: the plan of a sweep, where its runs are made, and the door to them."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
