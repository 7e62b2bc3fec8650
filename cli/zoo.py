"""List the small runs that come with mechgrok, or copy one"""

from pathlib import Path
from typing import Annotated

import typer

from mechgrok.cli.suggestions import Suggestion, first_look


def zoo(
    name: Annotated[str | None, typer.Argument(help="A run to copy; default: list all.")] = None,
    folder: Annotated[
        Path | None, typer.Argument(help="The new folder; default: the run's name.")
    ] = None,
) -> Suggestion:
    """List the small runs that come with mechgrok, or copy one to a new folder.

    The folder's `README.md` says how the run was trained and what can be seen in it.
    """
    from mechgrok.exchange.zoo import copy_zoo_run, zoo_runs

    runs = zoo_runs()
    if name is None:
        width = max(map(len, runs))
        for run, description in runs.items():
            print(f"{run:{width}}  {description}")
        return ("zoo", "transformer")
    copy = copy_zoo_run(name, folder or Path(name))
    print(f"{copy.path}: {runs[name]}; {len(copy.steps)} checkpoints")
    return first_look(copy)
