"""How commands that take long show their progress, and say how a training ended."""

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
    """Run ``start(progress=…)`` under a progress display and say how the run it trains ended.

    Args:
        steps: that will be trained.
        quiet: no progress.
        start: trains.
        retype: after Ctrl-C the command that was typed resumes, rather than `mechgrok train`.
        learned: say once when the test curve meets it, and how to stop there.
    """
    from mechgrok.cli.main import typed
    from mechgrok.training import Diverged, Interrupted

    began = time.monotonic()
    try:
        with (
            TrainingProgress(steps, quiet=quiet, learned=learned) as progress,
            warnings_in_one_line(),
        ):
            run = start(progress=progress)
    except Interrupted as stopped:
        words = ["train", "--out", str(stopped.path)]
        if retype:
            words = [word for word in typed if word not in ("--overwrite", "--resume")]
        again = shlex.join(["mechgrok", *words, "--resume"])
        print(f"Stopped at step {stopped.step:,} and saved; resume with: {again}", file=sys.stderr)
        raise typer.Exit(130) from None
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
def status(text: str) -> Iterator[None]:
    """Say on stderr what takes longer than a moment, while it lasts."""
    with Progress(text):
        yield


@contextmanager
def progress_of_pieces(
    text: str, *, quiet: bool = False
) -> Iterator[Callable[[int, int, str], object]]:
    """A callback for each piece of work: how many are done, how many there are, and what it was."""
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
