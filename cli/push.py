"""Upload all checkpoints of a run to a model hub, one revision per step"""

from pathlib import Path
from typing import Annotated

import typer

from mechgrok.cli.options import Checkpoints, License
from mechgrok.cli.suggestions import Suggestion


def push(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    repository: Annotated[str, typer.Argument(help="The repository, user/name.")],
    steps: Checkpoints = None,
    private: Annotated[bool, typer.Option("--private", help="Make a private repository.")] = False,
    license: License = "unknown",
    timeout: Annotated[float, typer.Option(help="Seconds allowed per checkpoint.")] = 300,
) -> Suggestion:
    """Upload the weights, configuration and model card of every checkpoint.

    Log in first: `hf auth login`. Needs the extra `mechgrok[hub]`.
    """
    from mechgrok.cli.progress import status
    from mechgrok.exchange.hub import push as upload
    from mechgrok.runs import Run

    source = Run(run)
    selected = source.select(steps) if steps else None
    with status(f"uploading to {repository}"):
        print(
            upload(source, repository, selected, private=private, license=license, timeout=timeout)
        )
    return ("import", f"hf://{repository}", "--out", repository.rpartition("/")[2])
