"""Where metrics go besides ``metrics.csv``: TensorBoard, Weights & Biases, Trackio, one's own.

A new one is one file here and its line below, or in another package (entry points of
``mechgrok.loggers``), or in a file of one's own: ``--log file.py:Name``.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
