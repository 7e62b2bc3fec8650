"""Starts: what the initial weights of a run are, by name.

A new one is one file here and its line in `mechgrok.starts.reading`, or in another package (entry
points of ``mechgrok.starts``), or in a file of your own: ``--start file.py:Name``.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
