"""Runs derived from runs: tickets and their controls, edge-popup, forks, retraining."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
