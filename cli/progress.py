"""Progress of a training run: a bar on a terminal, a line every tenth where there is none."""

import shlex
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isnan
from typing import TYPE_CHECKING, NoReturn, Self

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from mechgrok.runs import Run
    from mechgrok.tasks import Criterion


class WithBar:
    """A context manager around work that a bar shows, where there is a terminal."""

    bar: Progress | None = None

    def __enter__(self) -> Self:
        if self.bar:
            self.bar.start()
        return self

    def __exit__(self, *raised: object) -> None:
        if self.bar:
            self.bar.stop()


class TrainingProgress(WithBar):
    """Called with each row of the metrics; used as a context manager around the training."""

    def __init__(
        self, steps: int, *, quiet: bool = False, learned: "Criterion | None" = None
    ) -> None:
        self.steps = steps
        self.quiet = quiet
        self.learned = learned
        self.next_line = 0.0
        console = Console(file=sys.stderr)
        if console.is_terminal and not quiet:
            self.bar = Progress(
                TextColumn("step {task.completed:,.0f}/{task.total:,.0f}"),
                BarColumn(),
                TextColumn("{task.description}"),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                console=console,
            )
            self.task = self.bar.add_task("", total=steps, rate="")

    def __call__(self, row: dict[str, float]) -> None:
        if self.quiet:
            return
        step = row["step"]
        self._say_when_learned(row)
        words = f"train {_share(row['train_accuracy'])} test {_share(row['test_accuracy'])}"
        if self.bar:
            speed = self.bar.tasks[self.task].finished_speed or self.bar.tasks[self.task].speed
            rate = f"{speed:,.0f} steps/s" if speed else ""
            self.bar.update(self.task, completed=step, description=words, rate=rate)
        elif step >= self.next_line:
            print(f"step {step:,}/{self.steps:,} {words}", file=sys.stderr, flush=True)
            self.next_line = step + self.steps / 10

    def _say_when_learned(self, row: dict[str, float]) -> None:
        """Say once, when most of the steps are left, that they are not needed to generalize."""
        if self.learned is None:
            return
        quantity, level = self.learned
        value = row[f"test_{quantity}"]
        if value >= level if quantity == "accuracy" else value <= level:
            self.learned = None
            if row["step"] + 1000 < self.steps:
                words = (
                    f"mechgrok: it has generalized at step {row['step']:,} of {self.steps:,}; "
                    "--until-grokked would stop 1,000 steps later."
                )
                (self.bar.console.print if self.bar else _to_stderr)(words)


def _share(accuracy: float) -> str:
    return "—" if isnan(accuracy) else f"{accuracy:.1%}"


def _to_stderr(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def train_and_report(
    steps: int,
    quiet: bool,
    start: "Callable[[TrainingProgress], Run]",
    *,
    again: str | None = None,
    learned: "Criterion | None" = None,
) -> "Run":
    """Run ``start(progress)`` under a progress display and say how the run it trains ended.

    Args:
        steps: that will be trained.
        quiet: no progress.
        start: trains.
        again: the command that goes on after Ctrl-C; the one that was typed unless given.
        learned: say once when the test curve meets it, and how to stop there.
    """
    from mechgrok.training import Diverged, Interrupted

    began = time.monotonic()
    try:
        with (
            TrainingProgress(steps, quiet=quiet, learned=learned) as progress,
            warnings.catch_warnings(),
        ):
            warnings.showwarning = in_one_line  # type: ignore[assignment]
            run = start(progress)
    except Interrupted as stopped:
        _interrupted(stopped.step, again or _typed())
    except Diverged as diverged:
        print(f"mechgrok: {diverged}", file=sys.stderr)
        raise typer.Exit(1) from None
    reached = {"t_mem": run.t_mem, "t_gen": run.t_gen}
    words = [
        f"{name} {value:,}" if value is not None else f"{name} not reached"
        for name, value in reached.items()
    ]
    print(
        f"{run.path}: {run.task}; {', '.join(words)}; {len(run.steps)} checkpoints in "
        f"{time.monotonic() - began:.0f} s"
    )
    return run


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Say on stderr what is being waited for, where it takes longer than a moment."""
    console = Console(file=sys.stderr)
    if console.is_terminal:
        with console.status(f"{what} …"):
            yield
        return
    line = threading.Timer(2, lambda: print(f"{what} …", file=sys.stderr, flush=True))
    line.daemon = True
    line.start()
    try:
        yield
    finally:
        line.cancel()


def in_one_line(message: Warning | str, *where: object) -> None:
    """Show a warning as the command line says things: in place of ``warnings.showwarning``."""
    print(f"mechgrok: warning: {message}", file=sys.stderr)


def _typed() -> str:
    """The command that was typed, to be typed again so that it goes on."""
    from mechgrok.cli.main import typed

    words = [word for word in typed if word not in ("--overwrite", "--resume")]
    return shlex.join(["mechgrok", *words, "--resume"])


def _interrupted(step: int, again: str) -> NoReturn:
    print(f"Stopped at step {step:,} and saved; go on with: {again}", file=sys.stderr)
    raise typer.Exit(130)
