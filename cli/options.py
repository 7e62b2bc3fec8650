"""Options shared by several commands."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mechgrok.errors import UserError

if TYPE_CHECKING:
    from mechgrok.runs import Run

#: Headings of the help.
OUTPUT = "Output"
CHANGED_TRAINING = "Training (default: the parent's settings)"
EXECUTION = "Execution"

Jobs = Annotated[
    int | None,
    typer.Option(min=1, help="Runs at a time; default: one per core.", rich_help_panel=EXECUTION),
]
WhereDevice = Annotated[str, typer.Option(help="auto, cpu or cuda.", rich_help_panel=EXECUTION)]
TogetherOrNot = Annotated[
    str,
    typer.Option(
        help="Train runs of one shape together: on, off, or auto (only on a GPU).",
        rich_help_panel=EXECUTION,
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Train on a Ray cluster: host:port of its head node, or auto.",
        rich_help_panel=EXECUTION,
    ),
]

RayTimeout = Annotated[
    float,
    typer.Option(min=1, help="Seconds to wait for the Ray cluster.", rich_help_panel=EXECUTION),
]
Parent = Annotated[Path, typer.Argument(help="The folder of the parent run.")]
ChildFolder = Annotated[
    Path | None,
    typer.Option(
        help="The new run's folder; default: RUN-ticket, RUN-popup, …", rich_help_panel=OUTPUT
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
    typer.Option("--set", help="Any setting by its path: training.threads=2; repeatable."),
]
OwnInterventions = Annotated[
    list[str] | None,
    typer.Option("--intervention", help="Your own intervention, file.py:Name; repeatable."),
]
License = Annotated[str, typer.Option(help="License of the weights: mit, apache-2.0, cc-by-4.0, …")]
AtAccuracy = Annotated[
    float | None,
    typer.Option(help="Accuracy that defines t_mem and t_gen; default: the task's."),
]
Checkpoints = Annotated[
    str | None, typer.Option(help="Checkpoints: 0,2000,30000 or 0:30000:1000; default: all.")
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Show no progress.", rich_help_panel=OUTPUT)
]


def whole_numbers(text: str) -> list[int]:
    """Parse ``7,13``."""
    try:
        return [int(number) for number in text.replace(" ", "").split(",")]
    except ValueError:
        raise UserError(f"{text!r} is not a list of whole numbers: write 7,13.") from None


def planned_steps(parent: "Run") -> int:
    """The default number of training steps of a run derived from ``parent``."""
    from mechgrok.configuration.training import TrainingConfig

    return TrainingConfig(**parent.config.inherited_training()).steps


def sibling(run: Path, suffix: str) -> Path:
    """A folder next to a run's and named after it: ckpts-ticket for ckpts."""
    run = run if run.name not in ("", "..") else run.resolve()
    return run.with_name(f"{run.name}-{suffix}")
