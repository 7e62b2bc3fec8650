"""A sweep's progress in a notebook: one bar over the steps of all its runs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from mechgrok.notebooks import in_notebook
from mechgrok.sweeps.folder import Sweep
from mechgrok.sweeps.plan import Member, steps_of
from mechgrok.sweeps.where import Display, Outcome, Silent


@contextmanager
def shown_sweep(display: Display | Literal["auto"] | None, sweep: Sweep) -> Iterator[Display]:
    """Whom a sweep tells its progress.

    Args:
        display: somebody's own; "auto" is a bar in a notebook, and nothing elsewhere; None is
            nothing.
        sweep: what is made.
    """
    if display != "auto":
        yield display or Silent()
        return
    if not in_notebook():
        yield Silent()
        return
    from tqdm.auto import tqdm

    steps, done = steps_of(sweep.members), sweep.finished
    begun = sum(steps[name] for name in done)
    with tqdm(total=sum(steps.values()), initial=begun, unit="step", dynamic_ncols=True) as bar:
        yield _Bar(bar, steps, len(done))


class _Bar:
    """A display that moves one bar by the steps that runs have made, and counts those that ended.

    A run that stops early, or fails, counts with all its steps; one that was interrupted with those
    that it has made.
    """

    def __init__(self, bar: Any, steps: Mapping[str, int], ended: int) -> None:
        self._bar, self._steps, self._ended = bar, steps, ended
        self._at: dict[str, int] = {}
        self._count()

    def began(self, worker: int, member: Member) -> None:
        pass

    def row(self, worker: int, member: Member, row: Mapping[str, float]) -> None:
        self._move(member.name, int(row["step"]))

    def ended(self, worker: int, outcome: Outcome) -> None:
        if outcome.how == "interrupted":
            return
        self._ended += 1
        self._move(outcome.member.name, self._steps[outcome.member.name])
        self._count()

    def _move(self, name: str, step: int) -> None:
        self._bar.update(step - self._at.get(name, 0))
        self._at[name] = step

    def _count(self) -> None:
        self._bar.set_description(f"{self._ended}/{len(self._steps)} runs")
