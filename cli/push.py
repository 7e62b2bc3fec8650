"""Send all checkpoints of a run to a model hub, a revision step0, step100, … for each"""

from pathlib import Path
from typing import Annotated

import typer

from mechgrok.cli.options import Checkpoints, License


def push(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    repository: Annotated[str, typer.Argument(help="Where to: user/name.")],
    steps: Checkpoints = None,
    private: Annotated[
        bool, typer.Option("--private", help="Make a repository that only you see.")
    ] = False,
    license: License = "unknown",
    timeout: Annotated[
        float, typer.Option(help="Seconds that the hub may take over one checkpoint.")
    ] = 300,
) -> None:
    """Send weights, configuration and model card of every checkpoint (extra mechgrok[hub]).

    Log in before: `hf auth login`.
    """
    from mechgrok.cli.progress import status
    from mechgrok.exchange.hub import push as send
    from mechgrok.runs import Run

    opened = Run(run)
    chosen = opened.select(steps) if steps else None
    with status(f"sending {repository}"):
        print(send(opened, repository, chosen, private=private, license=license, timeout=timeout))
