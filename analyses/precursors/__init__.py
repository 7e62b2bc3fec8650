"""Which measure tells early that a network will generalize? All scalars of all analyses compared.

    result = mechgrok.precursors("sweep")
    result.table.query("share == 0.1")

The measures of runs that generalize within a horizon and of runs that do not come from
`mechgrok.analyses.precursors.curves`, the statistics from `mechgrok.analyses.measures.precursors`.
"""

from mechgrok.analyses.precursors.comparison import SHARES, Precursors
from mechgrok.analyses.precursors.making import precursors
from mechgrok.analyses.precursors.outcomes import Outcomes

__all__ = ["SHARES", "Outcomes", "Precursors", "precursors"]
