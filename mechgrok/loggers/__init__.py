"""Loggers send metrics to TensorBoard, Weights & Biases, Trackio, or user code.

A new logger is a file here and an entry in `LOGGERS`, an entry point in the group
``mechgrok.loggers``, or a class in a user's file: ``--log file.py:Name``.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
