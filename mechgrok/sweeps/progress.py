"""The progress of a sweep: a bar for all runs, and one for each run in progress."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, Self

from mechgrok.notebooks import in_notebook
from mechgrok.progress import Progress, describe_row
from mechgrok.sweeps.executor import Display, Outcome
from mechgrok.sweeps.folder import Sweep
from mechgrok.sweeps.order import steps_of, work_of
from mechgrok.sweeps.plan import Member


class SweepProgress(Progress, Display):
    """A `mechgrok.sweeps.Display` for a terminal, a notebook or a log.

    A run that stops early or fails counts as complete; an interrupted run counts in part.

    Args:
        sweep: the sweep.
        quiet: show nothing.
    """

    def __init__(self, sweep: Sweep, *, quiet: bool = False) -> None:
        super().__init__(quiet=quiet)
        self._steps, self._work = steps_of(sweep.members), work_of(sweep.members)
        self._total, self._n, self._n_done = sum(self._work.values()), len(sweep), 0
        self._work_done, self._work_done_by_run = 0.0, dict[str, float]()
        for name in sweep.finished:
            self._n_done += 1
            self._set(name, 1)

    def __enter__(self) -> Self:
        super().__enter__()
        if self._n_done < self._n:
            self._show("runs")
        return self

    def began(self, worker: int, member: Member) -> None:
        """Show a new run."""
        self.update_part(member.name, 0, member.name)

    def row(self, worker: int, member: Member, row: Mapping[str, float]) -> None:
        """Show the progress of a run."""
        share = row["step"] / max(1, self._steps[member.name])
        self._set(member.name, share)
        self.update_part(member.name, share, f"{member.name} {describe_row(row)}")
        self._show("runs")

    def ended(self, worker: int, outcome: Outcome) -> None:
        """Count a run that has ended, and print its warnings."""
        name = outcome.member.name
        self.remove_part(name)
        for warning in outcome.warnings:
            self.say(f"mechgrok: warning: {name}: {warning}")
        if outcome.how != "interrupted":
            self._set(name, 1)
        self._n_done += outcome.how == "done"
        self._show(f"{name}: {outcome.words if outcome.how == 'done' else outcome.how}")

    def _set(self, name: str, share: float) -> None:
        before, now = self._work_done_by_run.get(name, 0.0), self._work[name] * share
        self._work_done_by_run[name] = now
        self._work_done += now - before

    def _show(self, text: str) -> None:
        share = 1.0 if self._n_done == self._n else self._work_done / self._total
        self.update(share, f"{self._n_done}/{self._n} {text}")


def show_sweep(
    display: Display | Literal["auto"] | None, sweep: Sweep
) -> AbstractContextManager[Display]:
    """A context that yields the display of a sweep.

    Args:
        display: a display; "auto" shows a bar in notebooks only; None shows nothing.
        sweep: the sweep.
    """
    if display == "auto" and in_notebook():
        return SweepProgress(sweep)
    return nullcontext(Display() if display == "auto" or display is None else display)
