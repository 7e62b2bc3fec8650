"""Send the metrics of runs to TensorBoard, Weights & Biases or Trackio"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from mechgrok.cli.suggestions import Suggestion


def log(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs or sweeps.")],
    to: Annotated[
        list[str],
        typer.Option(help="tensorboard, wandb, trackio or your own file.py:Class; repeatable."),
    ],
) -> Suggestion:
    """Send the metrics of trained runs to loggers; `mechgrok train --log` sends them live."""
    from mechgrok.cli.progress import status, warnings_in_one_line
    from mechgrok.loggers import find_loggers
    from mechgrok.loggers import log as send
    from mechgrok.sweeps.groups import RunGroups

    find_loggers(to)
    complete = True
    for label, run in RunGroups.open(runs).runs.items():
        with status(f"sending {label}"), warnings_in_one_line():
            sent = send(run, to)
        if sent:
            print(f"{label}: {len(run.metrics)} evaluations sent to {', '.join(sent)}")
        if missing := [name for name in to if name not in sent]:
            complete = False
            print(f"mechgrok: {label} was not sent to {', '.join(missing)}.", file=sys.stderr)
    if not complete:
        raise typer.Exit(1)
    return ("info", runs[0])
