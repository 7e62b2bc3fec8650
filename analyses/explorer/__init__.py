"""An interactive page for interventions on a network and on all of its checkpoints."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mechgrok.analyses.explorer.server import Explorer
    from mechgrok.interventions import Intervention
    from mechgrok.runs import Run


def explore(
    *runs: "Run | str | Path",
    port: int | None = None,
    interventions: "Sequence[type[Intervention] | str]" = (),
) -> "Explorer":
    """Open the explorer, a page to scrub through runs and intervene in them.

    Args:
        runs: runs, or their folders; several are shown side by side.
        port: the port on 127.0.0.1; default: the usual port, or any free one.
        interventions: your own, as classes or as ``file.py:Name``; the page has a form for each.

    Raises:
        UserError: the extra mechgrok[explore] is not installed, the port is taken, or an object is
            not an intervention.
    """
    from mechgrok.errors import UserError
    from mechgrok.interventions import add_intervention
    from mechgrok.runs import Run
    from mechgrok.runs.labels import labelled

    try:
        from mechgrok.analyses.explorer.server import Explorer
    except ModuleNotFoundError as error:
        if error.name not in ("dash", "flask", "werkzeug"):
            raise
        raise UserError("The explorer needs Dash: pip install 'mechgrok[explore]'.") from None
    for chosen in interventions:
        add_intervention(chosen)
    opened = labelled(run if isinstance(run, Run) else Run(run) for run in runs)
    for run in opened.values():
        if not run.steps:
            raise UserError(f"{run.path} has no checkpoint yet: there is nothing to explore.")
    return Explorer(opened, port=port)
