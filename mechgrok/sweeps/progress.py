"""The progress of a sweep: one bar over the work of all its runs, and one for each under way."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, Self

from mechgrok.notebooks import in_notebook
from mechgrok.progress import Progress, describe_row
from mechgrok.sweeps.executor import Display, NullDisplay, Outcome
from mechgrok.sweeps.folder import Sweep
from mechgrok.sweeps.order import steps_of, work_of
from mechgrok.sweeps.plan import Member


class SweepProgress(Progress):
    """A `mechgrok.sweeps.Display` for a terminal, a notebook or a log.

    A run that stops early, or fails, counts with all its work; one that is interrupted with the
    work that it has done.

    Args:
        sweep: what is made.
        quiet: show nothing.
    """

    def __init__(self, sweep: Sweep, *, quiet: bool = False) -> None:
        super().__init__(quiet=quiet)
        self._steps, self._work = steps_of(sweep.members), work_of(sweep.members)
        self._total, self._n, self._n_done = sum(self._work.values()), len(sweep), 0
        self._made, self._made_of = 0.0, dict[str, float]()
        for name in sweep.finished:
            self._n_done += 1
            self._set(name, 1)

    def __enter__(self) -> Self:
        super().__enter__()
        if self._n_done < self._n:
            self._show("runs")
        return self

    def began(self, worker: int, member: Member) -> None:
        """Show a run that begins."""
        self.update_part(member.name, 0, member.name)

    def row(self, worker: int, member: Member, row: Mapping[str, float]) -> None:
        """Show how far a run is."""
        share = row["step"] / max(1, self._steps[member.name])
        self._set(member.name, share)
        self.update_part(member.name, share, f"{member.name} {describe_row(row)}")
        self._show("runs")

    def ended(self, worker: int, outcome: Outcome) -> None:
        """Count a run that ended, and print what it warned of."""
        name = outcome.member.name
        self.remove_part(name)
        for warning in outcome.warnings:
            self.say(f"mechgrok: warning: {name}: {warning}")
        if outcome.how != "interrupted":
            self._set(name, 1)
        self._n_done += outcome.how == "done"
        self._show(f"{name}: {outcome.words if outcome.how == 'done' else outcome.how}")

    def _set(self, name: str, share: float) -> None:
        before, self._made_of[name] = self._made_of.get(name, 0.0), self._work[name] * share
        self._made += self._made_of[name] - before

    def _show(self, text: str) -> None:
        share = 1.0 if self._n_done == self._n else self._made / self._total
        self.update(share, f"{self._n_done}/{self._n} {text}")


def show_sweep(
    display: Display | Literal["auto"] | None, sweep: Sweep
) -> AbstractContextManager[Display]:
    """A context that gives the display of a sweep.

    Args:
        display: one to use; "auto" is a bar in a notebook and nothing elsewhere, None nothing.
        sweep: what is made.
    """
    if display == "auto" and in_notebook():
        return SweepProgress(sweep)
    return nullcontext(NullDisplay() if display == "auto" or display is None else display)
