"""Send the metrics of runs to TensorBoard, Weights & Biases or Trackio"""

from pathlib import Path
from typing import Annotated

import typer


def log(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs or sweeps.")],
    to: Annotated[
        list[str],
        typer.Option(help="tensorboard, wandb, trackio, or your own: file.py:Class; repeatable."),
    ],
) -> None:
    """Send what was measured while runs were trained; `mechgrok train --log` sends it meanwhile."""
    from mechgrok.cli.progress import status
    from mechgrok.loggers import find_loggers
    from mechgrok.loggers import log as send
    from mechgrok.sweeps.groups import RunGroups

    find_loggers(to)
    for label, run in RunGroups.open(runs).runs.items():
        with status(f"sending {label}"):
            send(run, to)
        print(f"{label}: {len(run.metrics)} evaluations sent to {', '.join(to)}")
