"""Train networks that grok, keep every checkpoint, and ask the sequence questions."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
