"""Edge-popup: look for a generalizing network inside a run's weights by training a mask"""

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.flags import flags_of, merged, nested, refuse_unknown, with_flags
from cli.train import FOLDER, training_flags
from mechgrok.origins import PopupOptions

SEARCH = "Where and how it looks"
TRAINING = "Training (the parent's settings unless given)"


@with_flags(
    merged(
        flags_of(PopupOptions, "popup", SEARCH, defaults=True),
        training_flags(TRAINING),
    )
)
def popup(
    run: Annotated[Path, typer.Argument(help="The parent's folder.")],
    out: Annotated[
        Path | None,
        typer.Option(help="The new run's folder; RUN-popup beside it.", rich_help_panel=FOLDER),
    ] = None,
    from_init: Annotated[
        bool,
        typer.Option(
            "--from-init", help="The initial weights instead: --at 0.", rich_help_panel=SEARCH
        ),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with this search in the folder.", rich_help_panel=FOLDER
        ),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace the run in the folder.", rich_help_panel=FOLDER),
    ] = False,
    device: Annotated[
        str, typer.Option(help="auto, cpu or cuda.", rich_help_panel=TRAINING)
    ] = "auto",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any setting, by its path: training.threads=2."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    **given: Any,
) -> None:
    """Train a score for every edge of a run's network; the highest-scored edges are on.

    The weights are those of the first checkpoint that has memorized everything (θ_mem), and are
    frozen, unless told otherwise. Every checkpoint holds the scores and the mask they select.
    """
    from cli.options import beside, planned_steps
    from cli.progress import train_and_report
    from mechgrok.errors import UserError
    from mechgrok.runs import Run
    from mechgrok.runs.tickets import train_popup

    settings = nested(given["given"], set_)
    refuse_unknown(settings, ["popup", "training"], "Edge-popup")
    search, training = settings.get("popup", {}), settings.get("training", {})
    parent = Run(run)
    if from_init and search.setdefault("at", 0) != 0:
        raise UserError(
            f"--from-init starts from step 0, so --at {search['at']} contradicts it: give one."
        )
    train_and_report(
        training.get("steps") or planned_steps(parent),
        quiet,
        lambda progress: train_popup(
            parent,
            out or beside(run, "popup"),
            resume=resume,
            overwrite=overwrite,
            device=device,
            progress=progress,
            **search,
            **training,
        ),
    )
