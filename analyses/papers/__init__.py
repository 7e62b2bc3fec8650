"""Papers made again: their runs, figures, tables and claims, with a verdict on each claim.

The modules here know no paper by name. A paper is a package in this folder, or one of another
project (`mechgrok.analyses.papers.paper`); what its items are made of is imported from here.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
