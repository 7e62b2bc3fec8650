"""The four phases of learning, which a run is in by when it memorized and generalized.

Source: Liu et al. 2022 (arXiv 2205.10343). There the accuracies are 90 % (``--at-accuracy
0.9``), a run has 10⁵ steps, and generalizing within 10³ steps of memorizing is comprehension; here
a run has as many steps as it was trained for, so that "never" means "not within them".
"""

from collections import Counter
from collections.abc import Sequence
from typing import Literal, get_args

Phase = Literal["comprehension", "grokking", "memorization", "confusion"]
PHASES: tuple[Phase, ...] = get_args(Phase)
#: Steps between t_mem and t_gen from which on it is grokking.
DELAY = 1000


def phase_of(t_mem: float | None, t_gen: float | None, delay: float = DELAY) -> Phase:
    """The phase of one run.

    - comprehension: it generalizes within ``delay`` steps of memorizing;
    - grokking: it generalizes, later than that;
    - memorization: it memorizes and does not generalize within the run;
    - confusion: it does not even memorize.

    Args:
        t_mem: the step at which the training set was learned; None where it was not.
        t_gen: the step at which the test set was.
        delay: t_gen − t_mem from which on it is grokking.

    >>> phase_of(100, 400), phase_of(100, 9000), phase_of(100, None), phase_of(None, None)
    ('comprehension', 'grokking', 'memorization', 'confusion')
    """
    if t_gen is None:
        return "confusion" if t_mem is None else "memorization"
    return "comprehension" if t_gen - (t_gen if t_mem is None else t_mem) < delay else "grokking"


def commonest(phases: Sequence[Phase]) -> tuple[Phase, int]:
    """The phase of most runs and how many they are; of equally many, that which learns less."""
    counts = Counter(phases)
    return max(counts.items(), key=lambda item: (item[1], PHASES.index(item[0])))
