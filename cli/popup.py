"""Edge-popup: find a generalizing subnetwork of a run by training a mask"""

from functools import partial
from typing import Annotated, Any

import typer

from mechgrok.cli import options
from mechgrok.cli.flags import flags_of, merged, nested, refuse_unknown, with_flags
from mechgrok.cli.suggestions import Suggestion
from mechgrok.cli.train import training_flags
from mechgrok.configuration.origins import PopupOptions

SEARCH = "Search"


@with_flags(
    merged(
        flags_of(PopupOptions, "popup", SEARCH, defaults=True),
        training_flags(options.CHANGED_TRAINING),
    )
)
def popup(
    run: options.Parent,
    out: options.ChildFolder = None,
    from_init: Annotated[
        bool,
        typer.Option(
            "--from-init",
            help="Same as --at 0: search the initial weights.",
            rich_help_panel=SEARCH,
        ),
    ] = False,
    resume: options.ResumeChild = False,
    overwrite: options.Overwrite = False,
    device: options.Device = "auto",
    set_: options.SetTraining = None,
    quiet: options.Quiet = False,
    **given: Any,
) -> Suggestion:
    """Train a score per edge of a run's network; the mask keeps the highest-scored edges.

    By default the weights are frozen at the first checkpoint with a memorized training set (θ_mem).
    Each checkpoint holds the scores and their mask.
    """
    from mechgrok.cli.progress import train_and_report
    from mechgrok.derived.edge_popup import train_popup
    from mechgrok.errors import UserError
    from mechgrok.runs import Run

    settings = nested(given["given"], set_)
    refuse_unknown(settings, ["popup", "training"], "Edge-popup")
    search, training = settings.get("popup", {}), settings.get("training", {})
    parent = Run(run)
    if from_init and search.setdefault("at", 0) != 0:
        raise UserError(f"--from-init contradicts --at {search['at']}: give one of them.")
    arguments = {"resume": resume, "overwrite": overwrite, "device": device, **search, **training}
    child = train_and_report(
        training.get("steps") or options.planned_steps(parent),
        quiet,
        partial(train_popup, parent, out or options.sibling(run, "popup"), **arguments),
        retype=True,
    )
    return ("compare", run, child.path)
