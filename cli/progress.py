"""Progress of a training run: a bar on a terminal, a line every tenth where there is none."""

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


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
