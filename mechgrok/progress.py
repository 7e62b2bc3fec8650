"""Progress on stderr: a bar in a terminal or a notebook, otherwise occasional lines."""

import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from math import isnan
from typing import TYPE_CHECKING, Any, Literal, Self

from mechgrok.formatting import duration
from mechgrok.notebooks import in_notebook

if TYPE_CHECKING:
    import rich.progress

#: Called after every evaluation with its row of ``metrics.csv``.
RowCallback = Callable[[dict[str, float]], object]
#: Seconds after which a line is printed: the first, and later ones.
SOON, LATER = 2.0, 15.0
#: Share of the work between two lines, and the least seconds between them.
_TENTH, _GAP = 0.1, 1.0
#: Largest number of bars for parts.
_MAX_PARTS = 16


class Progress:
    """A context that shows the progress of some work.

    A terminal, or a notebook with ipywidgets, shows a bar. Other outputs (a pipe, a log file) get a
    line for every tenth of the work, at most one per second, and after 15 seconds without a line.

    Args:
        text: a description of the work.
        quiet: show nothing.
    """

    def __init__(self, text: str = "", *, quiet: bool = False) -> None:
        self.quiet, self._text = quiet, text
        self._share: float | None = None
        self._first: tuple[float, float] | None = None  # time and share
        self._next_share, self._began = 0.0, time.monotonic()
        self._printed = self._began
        self._ended = threading.Event()
        self._bar = None if quiet else _make_bar()
        if self._bar is not None:
            self._main = self._bar.add_task(text, total=None)
            self._parts: dict[str, rich.progress.TaskID] = {}

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        elif not self.quiet:
            threading.Thread(target=self._print_regularly, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        if self._bar is not None:
            self._bar.stop()

    def update(self, share: float, text: str) -> None:
        """Show the share of the work that is done.

        Args:
            share: a number from 0 to 1.
            text: the text beside the bar, or in the line.
        """
        if self.quiet:
            return
        self._share, self._text = share, text
        self._first = self._first or (time.monotonic(), share)
        if self._bar is not None:
            self._bar.update(self._main, total=1, completed=share, description=text)
        elif share >= 1 or (share >= self._next_share and self._may_print()):
            self._next_share = share + _TENTH
            self._print_line()

    def update_part(self, name: str, share: float, text: str) -> None:
        """Show a bar for a part of the work, up to 16 of them."""
        if self._bar is None:
            return
        if name not in self._parts and len(self._parts) < _MAX_PARTS:
            self._parts[name] = self._bar.add_task("", total=1)
        if name in self._parts:
            self._bar.update(self._parts[name], completed=share, description=text)

    def remove_part(self, name: str) -> None:
        """Remove the bar of a part."""
        if self._bar is not None and name in self._parts:
            self._bar.remove_task(self._parts.pop(name))

    def say(self, line: str) -> None:
        """Print a permanent line."""
        if self._bar is not None:
            self._bar.console.print(line, highlight=False, markup=False, soft_wrap=True)
        elif not self.quiet:
            print(line, file=sys.stderr, flush=True)

    def _may_print(self) -> bool:
        return self._next_share == 0 or time.monotonic() - self._printed >= _GAP

    def _print_regularly(self) -> None:
        interval = SOON
        while not self._ended.wait(self._printed + interval - time.monotonic()):
            if time.monotonic() - self._printed >= interval:
                self._print_line()
            interval = LATER

    def _print_line(self) -> None:
        self._printed = time.monotonic()
        if self._text:
            self.say(f"{self._text}{self._time()}")

    def _time(self) -> str:
        """The remaining time at the average speed, or the elapsed time if that is unknown."""
        now = time.monotonic()
        if self._share is None or self._first is None:
            elapsed = now - self._began
            return " …" if elapsed < LATER else f" … {duration(elapsed)}"
        began, before = self._first
        if self._share >= 1 or self._share <= before:
            return ""
        remaining = (now - began) * (1 - self._share) / (self._share - before)
        return f"; about {duration(remaining)} left"


def _make_bar() -> "rich.progress.Progress | None":
    """A bar for a terminal or a notebook; None for other outputs."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(file=sys.stderr)
    live = console.is_terminal and not console.is_dumb_terminal
    if not live and not (console.is_jupyter and find_spec("ipywidgets")):
        return None
    text = TextColumn("{task.description}", markup=False)
    return Progress(BarColumn(), text, TimeRemainingColumn(), console=console, transient=live)


class TrainingProgress(Progress):
    """The progress of one training run; call it with each row of its metrics.

    Args:
        steps: the last step.
        quiet: show nothing.
        generalized: whether a row of metrics meets the criterion; at the first that does, suggest
            ``--until-grokked``.
    """

    def __init__(
        self,
        steps: int,
        *,
        quiet: bool = False,
        generalized: Callable[[Mapping[str, float]], bool] | None = None,
    ) -> None:
        super().__init__(quiet=quiet)
        self.steps, self.generalized = steps, generalized
        self._speed: tuple[float, float] | None = None

    def __call__(self, row: Mapping[str, float]) -> None:
        if self.quiet:
            return
        step, now = row["step"], time.monotonic()
        began, first = self._speed = self._speed or (now, step)
        speed = f", {(step - first) / (now - began):,.0f} steps/s" if step > first else ""
        text = f"step {step:,}/{self.steps:,} {describe_row(row)}{speed}"
        self.update(step / max(1, self.steps), text)
        if self.generalized is not None and self.generalized(row):
            self.generalized = None
            if step + 1000 < self.steps:
                self.say(
                    f"mechgrok: the run has generalized at step {step:,} of {self.steps:,}; "
                    "--until-grokked would stop 1,000 steps later."
                )


def describe_row(row: Mapping[str, Any]) -> str:
    """The accuracies of a row of metrics; for a regression, the losses.

    >>> describe_row({"train_accuracy": 1.0, "test_accuracy": 0.125})
    'train 100.0% test 12.5%'
    """
    metric, form = ("loss", "{:.3g}") if isnan(row["test_accuracy"]) else ("accuracy", "{:.1%}")
    return " ".join(f"{side} {form.format(row[f'{side}_{metric}'])}" for side in ("train", "test"))


def show_training(
    progress: RowCallback | Literal["auto"] | None, steps: int
) -> AbstractContextManager[RowCallback]:
    """A context that yields a callback for the rows of the metrics.

    Args:
        progress: a callback; "auto" shows a bar in notebooks only; None shows nothing.
        steps: the last step.
    """
    if progress == "auto":
        return TrainingProgress(steps, quiet=not in_notebook())
    return nullcontext(progress or (lambda row: None))
