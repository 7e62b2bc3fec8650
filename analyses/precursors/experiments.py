"""Does it cause? What t_gen does when a constraint holds what a measure measures.

The effects are those of the study ``norm-or-structure``, as its shipped verdicts have them.
"""

from collections.abc import Mapping
from typing import NamedTuple

from mechgrok.analyses.papers.overview import find_shipped
from mechgrok.analyses.papers.page import describe

_STUDY = "norm-or-structure"
#: The measures that an experiment is about, by item and claim.
_MEASURES = {
    ("norm-law", "larger-norm-later"): (
        *("metrics.l1", "metrics.l2", "norms.total_l1", "norms.total_l2"),
        "progress.squared_weights",
    ),
    ("scale-law", "sharper-later"): ("stability.train_logit_scale", "stability.test_logit_scale"),
    ("periodicity", "periodic-embedding"): (
        *("fourier.share", "activations.explained", "periodicity.explained"),
        *("entropy.input_entropy", "entropy.embedding_entropy", "progress.gini_embedding"),
        "algorithm.circularity",
    ),
    ("periodicity", "periodic-both"): ("entropy.output_entropy", "progress.gini_output"),
    ("periodicity", "frozen-embedding"): ("singular-values.embedding_rank",),
    ("periodicity", "frozen-unembedding"): ("singular-values.unembedding_rank",),
}


class Experiment(NamedTuple):
    """What was compared, and the median with interval and seeds."""

    ratio: str
    effect: str


def experiments() -> Mapping[str, Experiment]:
    """The experiment of each measure that has one."""
    claims = {(row["item"], row["claim"]): row for row in find_shipped()[_STUDY].claims}
    return {
        measure: Experiment(claims[key]["quantity"], describe(claims[key]))
        for key, measures in _MEASURES.items()
        if key in claims
        for measure in measures
    }
