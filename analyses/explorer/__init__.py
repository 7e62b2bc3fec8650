"""Interventions asked of a live network, and of all of its checkpoints."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mechgrok.analyses.explorer.server import Explorer
    from mechgrok.runs import Run


def explore(*runs: "Run | str | Path", port: int | None = None) -> "Explorer":
    """The page on which a run is scrubbed through and intervened in, of one run or of several.

    Args:
        runs: runs, or their folders; several are shown side by side.
        port: where the page listens on 127.0.0.1; the usual one, or any that is free.

    Raises:
        UserError: the extra mechgrok[explore] is not installed, or the port is taken.
    """
    from mechgrok.errors import UserError
    from mechgrok.runs import Run
    from mechgrok.runs.labels import labelled

    try:
        from mechgrok.analyses.explorer.server import Explorer
    except ModuleNotFoundError as error:
        if error.name not in ("dash", "flask", "werkzeug"):
            raise
        raise UserError(
            "The explorer needs Dash: install it with pip install 'mechgrok[explore]'."
        ) from None
    opened = labelled(run if isinstance(run, Run) else Run(run) for run in runs)
    for run in opened.values():
        if not run.steps:
            raise UserError(f"{run.path} has no checkpoint yet: there is nothing to explore.")
    return Explorer(opened, port=port)
