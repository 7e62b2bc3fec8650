"""A few places of a long sequence: the checkpoints that are looked at where all are too many."""

from collections.abc import Sequence

import numpy as np


def spread(steps: Sequence[int], count: int = 60) -> list[int]:
    """At most ``count`` steps of a sequence: the first, the last, and even places between.

    Evenly by position in the sequence, which is dense early, where most happens.

    >>> spread(range(0, 1000, 10), 4)
    [0, 330, 660, 990]
    """
    if len(steps) <= count:
        return [int(step) for step in steps]
    at = np.unique(np.linspace(0, len(steps) - 1, count).round().astype(int))
    return [int(steps[index]) for index in at]
