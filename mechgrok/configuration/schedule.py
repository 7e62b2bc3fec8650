"""When a run is evaluated and when it is saved: pure functions of the step."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from heapq import merge
from itertools import groupby


@dataclass(frozen=True)
class Steps:
    """Steps of a run, in order and once each, that are not listed to be known.

    Attributes:
        parts: ascending collections of steps, such as ranges; they may overlap.
    """

    parts: tuple[Collection[int], ...]

    def __contains__(self, step: int) -> bool:
        # Asked before every step of a training: a generator would take three times as long.
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

    Dense enough that t_mem and t_gen are properties of the run and not of the schedule:
    from step 1,000 on they are known to within 1 %, and everywhere to within 50 steps.
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
    """So many of the steps, evenly spaced in log(step): the first and the last are among them.

    Where steps lie less densely than that, at the beginning, each is taken.

    >>> sorted(log_spaced(range(0, 1001, 10), 8))
    [0, 10, 20, 50, 100, 220, 460, 1000]
    """
    first, *later = steps
    if count > len(later):
        return frozenset((first, *later))
    chosen, at = {first}, -1
    for left in range(count - 2, -1, -1):  # after this one
        wanted = later[-1] * (later[0] / later[-1]) ** (left / max(1, count - 2))
        nearest = min(range(len(later)), key=lambda index: abs(later[index] - wanted))
        at = min(max(at + 1, nearest), len(later) - 1 - left)
        chosen.add(later[at])
    return frozenset(chosen)


def usual_interval(steps: int) -> int:
    """The interval of about 300 checkpoints, rounded to 1, 2 or 5 times a power of ten."""
    power = 1
    while True:
        for digit in (1, 2, 5):
            if digit * power * 300 >= steps:
                return digit * power
        power *= 10
