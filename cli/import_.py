"""Open weights that were trained elsewhere as a run"""

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.flags import nested, refuse_unknown, with_flags
from cli.options import Overwrite, whole_numbers
from cli.train import task_flags


@with_flags(task_flags())
def import_(
    files: Annotated[
        list[Path], typer.Argument(help="Files of weights: PyTorch pickles or safetensors.")
    ],
    out: Annotated[Path, typer.Option(help="The run's folder.")],
    steps: Annotated[
        str | None,
        typer.Option(help="The step of each, 0,500,1000; from the files unless given."),
    ] = None,
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

    What a file does not tell about its task comes from the options, and is checked against the
    shapes of the weights; what nobody tells about the training stays unknown. Files are never
    unpickled beyond tensors, dictionaries and lists.
    """
    import sys
    import warnings

    from cli.progress import in_one_line
    from mechgrok.runs.importing import doubt, import_run
    from mechgrok.runs.importing.words import assumed_in_words, split_in_words

    settings = nested(given["given"], set_)
    refuse_unknown(settings, ["task", "training"], "An import")
    at = whole_numbers(steps) if steps else None
    with warnings.catch_warnings():
        warnings.showwarning = in_one_line  # type: ignore[assignment]
        run = import_run(
            files,
            out,
            task=settings.get("task", {}),
            steps=at,
            act=act,
            split=split,
            training=settings.get("training"),
            overwrite=overwrite,
        )
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
    if warning := doubt(run):
        print(f"mechgrok: {warning}", file=sys.stderr)
