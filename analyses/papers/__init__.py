"""Reproductions of papers: their runs, figures, tables and claims, with a verdict on each claim.

The modules here are independent of any paper. A paper is a package in this folder or of another
project (`mechgrok.analyses.papers.paper`), and imports the building blocks of its items from here.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
