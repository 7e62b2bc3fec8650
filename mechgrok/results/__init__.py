"""Answers: what an analysis is, how its answers are kept, and the page that shows them."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
