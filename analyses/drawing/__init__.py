"""Figures of panels with one template and sliders over steps, written as HTML and pictures."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
