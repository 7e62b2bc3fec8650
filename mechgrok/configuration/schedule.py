"""The steps at which a run is evaluated and saved: pure functions of its settings."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from heapq import merge
from itertools import groupby


@dataclass(frozen=True)
class Steps:
    """An ordered set of steps, as a union that is not listed in memory.

    Attributes:
        parts: ascending collections of steps, such as ranges; they may overlap.
    """

    parts: tuple[Collection[int], ...]

    def __contains__(self, step: int) -> bool:
        # Called before every step of training: a generator would take three times as long.
        for part in self.parts:  # noqa: SIM110
            if step in part:
                return True
        return False

    def __iter__(self) -> Iterator[int]:
        return (step for step, _ in groupby(merge(*self.parts)))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def evaluation_steps(steps: int) -> Steps:
    """Every 10 steps up to 2,000; every 20, 30 and 40 for 1,000 each; then every 50; and the last.

    This is dense enough for t_mem and t_gen: from step 1,000 on they are accurate to 1 %, and
    everywhere to 50 steps.
    """
    parts, begin = [], 0
    for every, until in ((10, 2000), (20, 3000), (30, 4000), (40, 5000), (50, steps)):
        parts.append(range(begin, min(max(until, begin), steps), every))
        begin += -(-max(0, until - begin) // every) * every
    return Steps((*parts, (steps,)))


def checkpoint_steps(steps: int, every: int, extra: Iterable[int] = ()) -> Steps:
    """Multiples of ``every``, four times as dense in the first five intervals; extras; the last."""
    early = range(0, min(5 * every, steps) + 1, max(1, every // 4))
    late = range(0, steps + 1, every)
    further = dict.fromkeys(sorted({step for step in extra if 0 <= step <= steps} | {steps}))
    return Steps((early, late, further))


def log_spaced(steps: Iterable[int], count: int) -> frozenset[int]:
    """Choose ``count`` of the steps, evenly spaced in log(step), with the first and the last.

    Early steps, which are sparser than that, are all chosen.

    >>> sorted(log_spaced(range(0, 1001, 10), 8))
    [0, 10, 20, 50, 100, 220, 460, 1000]
    """
    first, *later = steps
    if count > len(later):
        return frozenset((first, *later))
    chosen, position = {first}, -1
    for remaining in range(count - 2, -1, -1):
        target = later[-1] * (later[0] / later[-1]) ** (remaining / max(1, count - 2))
        nearest = min(range(len(later)), key=lambda index: abs(later[index] - target))
        position = min(max(position + 1, nearest), len(later) - 1 - remaining)
        chosen.add(later[position])
    return frozenset(chosen)


def usual_interval(steps: int) -> int:
    """The interval for about 300 checkpoints, rounded to 1, 2 or 5 times a power of ten."""
    power = 1
    while True:
        for digit in (1, 2, 5):
            if digit * power * 300 >= steps:
                return digit * power
        power *= 10
