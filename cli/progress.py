"""Progress of a training run: a bar on a terminal, a line every tenth where there is none."""

import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Self

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from mechgrok.runs import Run


class TrainingProgress:
    """Called with each row of the metrics; used as a context manager around the training."""

    def __init__(self, steps: int, *, quiet: bool = False) -> None:
        self.steps = steps
        self.quiet = quiet
        self.next_line = 0.0
        console = Console(file=sys.stderr)
        self.bar = (
            Progress(
                TextColumn("step {task.completed:,.0f}/{task.total:,.0f}"),
                BarColumn(),
                TextColumn("{task.description}"),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                console=console,
            )
            if console.is_terminal and not quiet
            else None
        )
        if self.bar:
            self.task = self.bar.add_task("", total=steps, rate="")

    def __enter__(self) -> Self:
        if self.bar:
            self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self.bar:
            self.bar.stop()

    def __call__(self, row: dict[str, float]) -> None:
        if self.quiet:
            return
        step = row["step"]
        words = f"train {row['train_accuracy']:.1%} test {row['test_accuracy']:.1%}"
        if self.bar:
            speed = self.bar.tasks[self.task].finished_speed or self.bar.tasks[self.task].speed
            rate = f"{speed:,.0f} steps/s" if speed else ""
            self.bar.update(self.task, completed=step, description=words, rate=rate)
        elif step >= self.next_line:
            print(f"step {step:,}/{self.steps:,} {words}", file=sys.stderr, flush=True)
            self.next_line = step + self.steps / 10


def train_and_report(steps: int, quiet: bool, start: "Callable[[TrainingProgress], Run]") -> None:
    """Run ``start(progress)`` under a progress display and say how the run it trains ended."""
    from mechgrok.training import Interrupted

    began = time.monotonic()
    try:
        with TrainingProgress(steps, quiet=quiet) as progress, warnings.catch_warnings():
            warnings.showwarning = in_one_line  # type: ignore[assignment]
            run = start(progress)
    except Interrupted as stopped:
        _interrupted(stopped.path, stopped.step)
    reached = {"t_mem": run.t_mem, "t_gen": run.t_gen}
    words = [
        f"{name} {value:,}" if value is not None else f"{name} not reached"
        for name, value in reached.items()
    ]
    print(
        f"{run.path}: {run.task}; {', '.join(words)}; {len(run.steps)} checkpoints in "
        f"{time.monotonic() - began:.0f} s"
    )


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


def _interrupted(out: Path, step: int) -> NoReturn:
    print(
        f"Stopped at step {step:,} and saved; go on with: mechgrok train --out {out} --resume",
        file=sys.stderr,
    )
    raise typer.Exit(130)
