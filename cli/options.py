"""Options that several commands have, small languages of values, folders named after others."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mechgrok.errors import UserError

if TYPE_CHECKING:
    from mechgrok.runs import Run

#: Headings of the help.
OUTPUT = "Output"
CHANGED_TRAINING = "Training (the parent's settings unless given)"
HOW = "How"

# Where many runs are made.
Jobs = Annotated[
    int | None,
    typer.Option(min=1, help="Runs at a time; as many as cores.", rich_help_panel=HOW),
]
WhereDevice = Annotated[str, typer.Option(help="auto, cpu or cuda.", rich_help_panel=HOW)]
TogetherOrNot = Annotated[
    str,
    typer.Option(
        help="Runs of one shape in one loop: on, off, or auto (on a GPU alone).",
        rich_help_panel=HOW,
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Make the runs on a Ray cluster: host:port of its head, or auto.",
        rich_help_panel=HOW,
    ),
]

RayTimeout = Annotated[
    float,
    typer.Option(min=1, help="Seconds in which the Ray cluster must answer.", rich_help_panel=HOW),
]
Parent = Annotated[Path, typer.Argument(help="The parent's folder.")]
ChildFolder = Annotated[
    Path | None,
    typer.Option(
        help="The new run's folder; RUN-ticket, RUN-popup, … beside it.", rich_help_panel=OUTPUT
    ),
]
ResumeChild = Annotated[
    bool,
    typer.Option("--resume", help="Resume this run in the folder.", rich_help_panel=OUTPUT),
]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace the run in the folder.", rich_help_panel=OUTPUT),
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.", rich_help_panel=CHANGED_TRAINING)]
SetTraining = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any setting, by its path: training.threads=2."),
]
OwnInterventions = Annotated[
    list[str] | None,
    typer.Option("--intervention", help="An intervention of your own: file.py:Name; repeatable."),
]
License = Annotated[
    str, typer.Option(help="Of the weights, as model hubs call it: mit, apache-2.0, cc-by-4.0, …")
]
AtAccuracy = Annotated[
    float | None,
    typer.Option(help="t_mem and t_gen at this accuracy; at the task's criterion unless given."),
]
Checkpoints = Annotated[
    str | None, typer.Option(help="Checkpoints: 0,2000,30000 or 0:30000:1000; all.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.", rich_help_panel=OUTPUT)]


def whole_numbers(text: str) -> list[int]:
    """The numbers in ``7,13``."""
    try:
        return [int(number) for number in text.replace(" ", "").split(",")]
    except ValueError:
        raise UserError(f"{text!r} is no list of whole numbers such as 7,13.") from None


def planned_steps(parent: "Run") -> int:
    """The steps that a run made from ``parent`` trains unless told otherwise."""
    from mechgrok.configuration.training import TrainingConfig

    return TrainingConfig(**parent.config.inherited_training()).steps


def beside(run: Path, ending: str) -> Path:
    """The folder next to a run's that is named after it: ckpts-ticket for ckpts."""
    run = run if run.name not in ("", "..") else run.resolve()
    return run.with_name(f"{run.name}-{ending}")
