"""When a run is evaluated and when it is saved: pure functions of the step."""

from collections.abc import Iterable


def evaluation_steps(steps: int) -> list[int]:
    """Every 10 steps up to 1,000, then every 1 % of the step but at most every 50, and the last.

    Dense enough that t_mem and t_gen are properties of the run and not of when it was looked at:
    they are known to within 1 %, and to within 50 steps.
    """
    at, step = [], 0
    while step < steps:
        at.append(step)
        step += min(50, max(10, step // 1000 * 10))
    return [*at, steps]


def checkpoint_steps(steps: int, every: int, extra: Iterable[int] = ()) -> list[int]:
    """Multiples of ``every``, four times as dense in the first five intervals; extras; the last."""
    early = range(0, min(5 * every, steps) + 1, max(1, every // 4))
    late = range(0, steps + 1, every)
    return sorted({*early, *late, *(step for step in extra if 0 <= step <= steps), steps})


def usual_interval(steps: int) -> int:
    """The interval of about 300 checkpoints, rounded to 1, 2 or 5 times a power of ten."""
    power = 1
    while True:
        for digit in (1, 2, 5):
            if digit * power * 300 >= steps:
                return digit * power
        power *= 10
