"""Which measure tells early that a network will generalize? All scalars of all analyses compared.

`precursors` measures them on the runs of a sweep that generalize within a horizon and on those that
do not (`mechgrok.analyses.precursors.curves`), compares the two at shares of the horizon
(`mechgrok.analyses.measures.precursors`), and writes a page.
"""

from mechgrok.analyses.precursors.comparison import SHARES, Precursors
from mechgrok.analyses.precursors.making import precursors
from mechgrok.analyses.precursors.outcomes import Outcomes

__all__ = ["SHARES", "Outcomes", "Precursors", "precursors"]
