"""Which weights are on: masks, the hooks that carry them, scores for pruning, edge-popup."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
