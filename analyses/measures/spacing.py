"""Default selections of checkpoints for slow analyses."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np

#: The option of `log_spaced` checkpoints.
Checkpoints = Annotated[int, "number of checkpoints, evenly by log step; --steps overrides"]


def thin(steps: Sequence[int], count: int = 60) -> list[int]:
    """At most ``count`` steps of a sequence: the first, the last, and evenly spaced ones between.

    The spacing is even by position in the sequence, which is dense early in training.

    >>> thin(range(0, 1000, 10), 4)
    [0, 330, 660, 990]
    """
    if len(steps) <= count:
        return [int(step) for step in steps]
    at = np.unique(np.linspace(0, len(steps) - 1, count).round().astype(int))
    return [int(steps[index]) for index in at]


def log_spaced(steps: Sequence[int], count: int) -> list[int]:
    """At most ``count`` of the steps: the first, the last, and between them evenly by logarithm.

    Includes step 0, which has no logarithm, if it is the first.

    >>> log_spaced([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 100, 1000], 5)
    [0, 1, 10, 100, 1000]
    >>> log_spaced([0, 10], 5), log_spaced([0, 10, 20], 1)
    ([0, 10], [20])
    """
    steps = [int(step) for step in steps]
    if len(steps) <= count:
        return steps
    if count == 1:
        return steps[-1:]
    if steps[0] == 0 and count > 2:
        return [0, *log_spaced(steps[1:], count - 1)]
    logs = np.log1p(np.asarray(steps, dtype=float))
    chosen: list[int] = []
    for remaining, target in zip(
        range(count - 1, -1, -1), np.linspace(logs[0], logs[-1], count), strict=True
    ):
        # Choose each step once, and leave enough steps for the remaining targets.
        low, high = (chosen[-1] + 1 if chosen else 0), len(steps) - remaining
        chosen.append(low + int(np.abs(logs[low:high] - target).argmin()))
    return [steps[at] for at in chosen]


def around_milestones(
    steps: Sequence[int], count: int, milestones: Mapping[str, float]
) -> list[int]:
    """At most ``count`` of the steps, evenly spaced by logarithm, and denser around t_gen.

    Five of twelve are the steps nearest to t_mem and to 0.7, 0.85, 1 and 1.2 times t_gen, if
    reached; the others are `log_spaced`.

    >>> around_milestones(range(0, 1001, 10), 8, {"t_gen": 500})
    [0, 10, 50, 220, 420, 500, 600, 1000]
    """
    steps = [int(step) for step in steps]
    if len(steps) <= count:
        return steps
    wanted = [milestones["t_gen"] * times for times in (1, 0.85, 1.2, 0.7) if "t_gen" in milestones]
    wanted += [milestones["t_mem"]] if "t_mem" in milestones else []
    near = [min(steps, key=lambda step: abs(step - at)) for at in wanted[: count * 5 // 12]]
    chosen = list(dict.fromkeys(near))
    rest = [step for step in steps if step not in chosen]
    return sorted([*chosen, *log_spaced(rest, count - len(chosen))])
