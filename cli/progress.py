"""Progress displays of long commands, and reports of finished training."""

import shlex
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from mechgrok.progress import Progress, TrainingProgress

if TYPE_CHECKING:
    from mechgrok.runs import Run
    from mechgrok.tasks import Criterion


def train_and_report(
    steps: int,
    quiet: bool,
    start: "Callable[..., Run]",
    *,
    retype: bool = False,
    learned: "Criterion | None" = None,
) -> "Run":
    """Train with a progress display and report how the run ended.

    Args:
        steps: number of training steps.
        quiet: show no progress.
        start: trains a run; takes the keyword ``progress``.
        retype: after Ctrl-C, suggest the typed command with --resume instead of `mechgrok train`.
        learned: criterion of generalization, to report once, with the flag that stops there.
    """
    from mechgrok.cli.main import typed
    from mechgrok.training import Diverged, Interrupted

    started = time.monotonic()
    generalized = learned.is_met if learned else None
    try:
        with (
            TrainingProgress(steps, quiet=quiet, generalized=generalized) as progress,
            warnings_in_one_line(),
        ):
            run = start(progress=progress)
    except Interrupted as stopped:
        command = ["train", "--out", str(stopped.path)]
        if retype:
            command = [word for word in typed if word not in ("--overwrite", "--resume")]
        again = shlex.join(["mechgrok", *command, "--resume"])
        print(f"Stopped at step {stopped.step:,} and saved; resume with: {again}", file=sys.stderr)
        raise typer.Exit(130) from None
    except Diverged as diverged:
        print(f"mechgrok: {diverged}", file=sys.stderr)
        raise typer.Exit(1) from None
    milestones = ", ".join(
        f"{name} not reached" if step is None else f"{name} {step:,}"
        for name, step in {"t_mem": run.t_mem, "t_gen": run.t_gen}.items()
    )
    print(
        f"{run.path}: {run.task}; {milestones}; {len(run.steps)} checkpoints in "
        f"{time.monotonic() - started:.0f} s"
    )
    return run


@contextmanager
def status(text: str) -> Iterator[None]:
    """Show a status line on stderr while the block runs, if it takes a moment."""
    with Progress(text):
        yield


@contextmanager
def progress_callback(
    text: str, *, quiet: bool = False
) -> Iterator[Callable[[int, int, str], object]]:
    """A callback for each finished piece of work: number done, total, and its name."""
    with Progress(text, quiet=quiet) as progress:
        yield lambda done, total, piece: progress.update(done / total, f"{done}/{total} {piece}")


@contextmanager
def warnings_in_one_line() -> Iterator[None]:
    """Show warnings as the command line prints messages."""

    def show(message: Warning | str, *where: object) -> None:
        print(f"mechgrok: warning: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show  # type: ignore[assignment]
        yield
