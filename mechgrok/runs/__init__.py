"""Runs: the folder on disk, the door to it, runs made from runs and from others' files."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
