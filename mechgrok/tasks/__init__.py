"""Tasks: the data sets that networks grok, each a pydantic class registered by name."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
