"""Edge-popup: look for a generalizing network inside a run's weights by training a mask"""

from functools import partial
from typing import Annotated, Any

import typer

from mechgrok.cli import options
from mechgrok.cli.flags import flags_of, merged, nested, refuse_unknown, with_flags
from mechgrok.cli.train import training_flags
from mechgrok.configuration.origins import PopupOptions

SEARCH = "Where and how it looks"


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
            "--from-init", help="The initial weights instead: --at 0.", rich_help_panel=SEARCH
        ),
    ] = False,
    resume: options.ResumeChild = False,
    overwrite: options.Overwrite = False,
    device: options.Device = "auto",
    set_: options.SetTraining = None,
    quiet: options.Quiet = False,
    **given: Any,
) -> None:
    """Train a score for every edge of a run's network; the highest-scored edges are on.

    The weights are those of the first checkpoint that has memorized everything (θ_mem), and are
    frozen, unless told otherwise. Every checkpoint holds the scores and the mask they select.
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
        raise UserError(
            f"--from-init starts from step 0, so --at {search['at']} contradicts it: give one."
        )
    how = {"resume": resume, "overwrite": overwrite, "device": device, **search, **training}
    train_and_report(
        training.get("steps") or options.planned_steps(parent),
        quiet,
        partial(train_popup, parent, out or options.beside(run, "popup"), **how),
        retype=True,
    )
