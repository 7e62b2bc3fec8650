"""Check every file of a run against its stored digest"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from mechgrok.cli.suggestions import Suggestion


def verify(runs: Annotated[list[Path], typer.Argument(help="Run folders.")]) -> Suggestion:
    """Check the checkpoints, resume states and metrics of runs for damage.

    The exit code is 1 if there is any. Checkpoints of version 0.1 have no digest, so only their
    format is checked.
    """
    from mechgrok.runs import Run
    from mechgrok.runs.soundness import undigested
    from mechgrok.runs.soundness import verify as find_problems

    damaged = False
    for path in runs:
        run = Run(path)
        problems = find_problems(run)
        damaged |= bool(problems)
        for problem in problems:
            print(f"mechgrok: {problem}", file=sys.stderr)
        if not problems:
            n_undigested = len(undigested(run))
            note = f" ({n_undigested} of them without a digest)" if n_undigested else ""
            locked = "" if run.is_unlocked else "; the run is in progress, or was killed"
            print(f"{path}: {len(run.steps)} checkpoints{note} are intact{locked}.")
    if damaged:
        raise typer.Exit(1)
    return ("info", runs[0])
