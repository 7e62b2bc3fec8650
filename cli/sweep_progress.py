"""Progress of a sweep: each worker's run on a terminal, a line for each run where there is none."""

import sys
import time
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from mechgrok.cli.progress import WithBar
from mechgrok.cli.words import duration
from mechgrok.sweeps import Member, Outcome, Sweep
from mechgrok.sweeps.plan import steps_of
from mechgrok.sweeps.running import work_of


class SweepProgress(WithBar):
    """A `mechgrok.sweeps.Display` for a terminal or a log; used as a context manager.

    Args:
        sweep: what is made.
        quiet: show nothing.
    """

    def __init__(self, sweep: Sweep, *, quiet: bool = False) -> None:
        done = sweep.finished
        self.steps, self.work = steps_of(sweep.members), work_of(sweep.members)
        self.total, self.ended_runs = len(sweep), len(done)
        self.left = sum(work for name, work in self.work.items() if name not in done)
        self.made, self.under_way = 0.0, dict[str, float]()
        self.began_at = time.monotonic()
        self.quiet = quiet
        self.console = Console(file=sys.stderr)
        self.bars: dict[int, TaskID] = {}
        if self.console.is_terminal and not quiet and len(done) < len(sweep):
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
            self.bar = Progress(
                *columns, TextColumn("{task.fields[words]}"), console=self.console, transient=True
            )
            self.all = self.bar.add_task(
                "runs", total=self.total, completed=self.ended_runs, words="starting"
            )

    def began(self, worker: int, member: Member) -> None:
        """Show a worker's new run."""
        self.under_way[member.name] = 0.0
        if self.bar:
            if worker not in self.bars:
                self.bars[worker] = self.bar.add_task("", total=1, words="")
            self._show(worker, member, 0, "")

    def row(self, worker: int, member: Member, row: Mapping[str, float]) -> None:
        """Show how far a run is."""
        share = row["step"] / max(1, self.steps[member.name])
        self.under_way[member.name] = self.work[member.name] * share
        if self.bar:
            words = f"train {row['train_accuracy']:.0%} test {row['test_accuracy']:.0%}"
            self._show(worker, member, row["step"], words)
            self.bar.update(self.all, words=self._time_left())

    def ended(self, worker: int, outcome: Outcome) -> None:
        """Count a run that ended, and say so in a line where there is no bar."""
        name = outcome.member.name
        self.under_way[name] = 0.0
        self.made += self.work[name]
        for warning in outcome.warnings:
            self._say(f"mechgrok: warning: {name}: {warning}")
        if outcome.how == "done":
            self.ended_runs += 1
        if self.bar:
            self.bar.update(self.all, completed=self.ended_runs, words=self._time_left())
        elif not self.quiet:
            how = outcome.words if outcome.how == "done" else outcome.how
            self._say(f"{self.ended_runs}/{self.total} {name}: {how}; {self._time_left()}")

    def _show(self, worker: int, member: Member, step: float, words: str) -> None:
        """A worker's run and how far it is; runs that are trained together take turns."""
        assert self.bar
        name, total = _cut(member.name), self.steps[member.name]
        bar = self.bars[worker]
        self.bar.update(bar, description=name, total=total, completed=step, words=words)

    def _say(self, words: str) -> None:
        if self.bar:
            self.bar.console.print(words, highlight=False, markup=False)
        elif not self.quiet:
            print(words, file=sys.stderr, flush=True)

    def _time_left(self) -> str:
        """What is left to do at the speed until now."""
        made = self.made + sum(self.under_way.values())
        elapsed = time.monotonic() - self.began_at
        left = self.left - made
        if left <= 0 or not made:
            return "nothing left" if left <= 0 else "starting"
        return f"about {duration(left * elapsed / made)} left"


def _cut(name: str, width: int = 44) -> str:
    return name if len(name) <= width else f"…{name[1 - width :]}"
