"""Read all of a run and compare it with the digests that were written with it"""

import sys
from pathlib import Path
from typing import Annotated

import typer


def verify(runs: Annotated[list[Path], typer.Argument(help="Run folders.")]) -> None:
    """Read every checkpoint, the states to go on from and the metrics, and say what is damaged.

    Exit code 1 where anything is. Checkpoints of version 0.1 carry no digest: of those only the
    form can be checked, which is said.
    """
    from mechgrok.runs import Run
    from mechgrok.runs.soundness import undigested
    from mechgrok.runs.soundness import verify as problems_of

    damaged = False
    for path in runs:
        run = Run(path)
        problems = problems_of(run)
        damaged |= bool(problems)
        for problem in problems:
            print(f"mechgrok: {problem}", file=sys.stderr)
        if not problems:
            without = len(undigested(run))
            words = f" ({without} of them without a digest)" if without else ""
            going_on = (
                "" if run.is_unlocked else "; it is being written, or its training was killed"
            )
            print(
                f"{path}: {len(run.steps)} checkpoints{words} are as they were written{going_on}."
            )
    if damaged:
        raise typer.Exit(1)
