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
    from mechgrok.cli.progress import waiting
    from mechgrok.loggers import find_loggers
    from mechgrok.loggers import log as send
    from mechgrok.sweeps.family import Family

    find_loggers(to)
    for label, run in Family.open(runs).runs.items():
        with waiting(f"sending {label}"):
            send(run, to)
        print(f"{label}: {len(run.metrics)} evaluations sent to {', '.join(to)}")
