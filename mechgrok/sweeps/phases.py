"""The phases of learning, defined by when a run memorizes and generalizes.

Source of all but "collapsed": Liu et al. 2022 (arXiv 2205.10343), with accuracies of 90 %
(``--at-accuracy 0.9``), 10⁵ steps, and at most 10³ steps from memorizing to generalizing for
comprehension. Here "never" means within the steps of the run.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Literal, get_args

Phase = Literal["comprehension", "grokking", "collapsed", "memorization", "confusion"]
PHASES: tuple[Phase, ...] = get_args(Phase)
#: The least t_gen − t_mem of grokking, in steps.
DELAY = 1000


def phase_of(
    t_mem: float | None,
    t_gen: float | None,
    t_gen_sustained: float | None,
    delay: float = DELAY,
) -> Phase:
    """The phase of one run.

    - comprehension: it generalizes within ``delay`` steps of memorizing;
    - grokking: it generalizes later;
    - collapsed: it generalizes, but does not meet the criterion at its last step;
    - memorization: it memorizes and does not generalize;
    - confusion: it does not memorize.

    Args:
        t_mem: the step at which it memorizes; None if it does not.
        t_gen: the step at which it generalizes; None if it does not.
        t_gen_sustained: the step from which on it stays generalized; None if it does not.
        delay: the least t_gen − t_mem of grokking.

    >>> phase_of(100, 400, 400), phase_of(100, 9000, 9000), phase_of(100, 9000, None)
    ('comprehension', 'grokking', 'collapsed')
    >>> phase_of(100, None, None), phase_of(None, None, None)
    ('memorization', 'confusion')
    """
    if t_gen is None:
        return "confusion" if t_mem is None else "memorization"
    if t_gen_sustained is None:
        return "collapsed"
    return "comprehension" if t_gen - (t_gen if t_mem is None else t_mem) < delay else "grokking"


def commonest(phases: Sequence[Phase]) -> tuple[Phase, int]:
    """The commonest phase and its count; of equally common phases, the one that learns least."""
    counts = Counter(phases)
    return max(counts.items(), key=lambda item: (item[1], PHASES.index(item[0])))
