"""Open weights that were trained elsewhere as a run"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mechgrok.cli.flags import nested, refuse_unknown, with_flags
from mechgrok.cli.options import OUTPUT, Overwrite, whole_numbers
from mechgrok.cli.train import task_flags
from mechgrok.errors import UserError

if TYPE_CHECKING:
    from mechgrok.runs import Run


@with_flags(task_flags())
def import_(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Files of weights: PyTorch pickles or safetensors; or one folder or git "
            "repository with the steps of a run, step0, step100, …"
        ),
    ],
    out: Annotated[Path, typer.Option(help="The run's folder.")],
    steps: Annotated[
        str | None,
        typer.Option(help="The step of each, 0,500,1000; from the files unless given."),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Leave an import of these files that is complete, else begin it anew.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    overwrite: Overwrite = False,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Any setting of the task, task.label_seed=3, or what is known of the training, "
            "training.weight_decay=0.",
        ),
    ] = None,
    split: Annotated[
        Path | None,
        typer.Option(
            help="A file that holds the split they were trained on (train_data and test_data, or "
            "train_indices), or a run that has it.",
            rich_help_panel="Task",
        ),
    ] = None,
    act: Annotated[
        str | None,
        typer.Option(help="The neurons' non-linearity; relu unless the files tell."),
    ] = None,
    **given: Any,
) -> None:
    """Make a run of weights that were trained elsewhere, so that every analysis works on them.

    Options supply what a file does not say about its task, and are checked against the shapes of
    the weights. Settings of the training that neither says stay unknown. Files are never unpickled
    beyond tensors, dictionaries and lists.
    """
    from mechgrok.cli.progress import warnings_in_one_line
    from mechgrok.exchange.importing import import_run

    settings = nested(given["given"], set_)
    refuse_unknown(settings, ["task", "training"], "An import")
    at = whole_numbers(steps) if steps else None
    with warnings_in_one_line():
        run = (_find_import(out, files) if resume else None) or import_run(
            files,
            out,
            task=settings.get("task", {}),
            steps=at,
            act=act,
            split=split,
            training=settings.get("training"),
            overwrite=overwrite,
        )
    _print_summary(run)


def _find_import(out: Path, files: list[Path]) -> "Run | None":
    """The run that was made from these files earlier; None where there is none.

    An import is complete or absent, whatever kills it.

    Raises:
        UserError: the folder holds another run.
    """
    from mechgrok.runs import Run

    if not (out / "config.json").is_file():
        return None
    run = Run(out)
    if run.imported is None or list(run.imported.files) != [file.name for file in files]:
        raise UserError(
            f"{out} holds another run than an import of these files: choose another folder, or "
            "--overwrite."
        )
    return run


def _print_summary(run: "Run") -> None:
    """What was recognized, how well it answers, and what is assumed or unknown."""
    import sys

    from mechgrok.exchange.importing import chance_level_warning
    from mechgrok.runs.imported import assumed_in_words, split_in_words

    origin = run.imported
    assert origin is not None
    of_steps = "checkpoint" if len(run.steps) == 1 else "checkpoints"
    print(f"{run.path}: {run.task}; {origin.layout}; {len(run.steps)} {of_steps}")
    last = run.metrics.iloc[-1]
    at_step = f"At step {run.steps[-1]:,}" if origin.steps_known else "At an unknown step"
    print(
        f"{at_step}: train accuracy {last.train_accuracy:.4f} and test accuracy "
        f"{last.test_accuracy:.4f}, loss {last.train_loss:.4g} and {last.test_loss:.4g}."
    )
    print(f"The split: {split_in_words(run)}. Assumed: {assumed_in_words(run)}.")
    if origin.compared:
        print("Its outputs are those of the file's own forward pass.")
    else:
        print(
            "There is no forward pass to compare it with: the file names a model of mechgrok or "
            "yours, and holds its weights."
        )
    if warning := chance_level_warning(run):
        print(f"mechgrok: {warning}", file=sys.stderr)
