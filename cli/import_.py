"""Import weights trained elsewhere as a run"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mechgrok.cli.flags import nested, refuse_unknown, with_flags
from mechgrok.cli.options import Overwrite, output_option, whole_numbers
from mechgrok.cli.suggestions import Suggestion, first_look
from mechgrok.cli.train import task_flags
from mechgrok.errors import UserError

if TYPE_CHECKING:
    from mechgrok.runs import Run


@with_flags(task_flags())
def import_(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="PyTorch or safetensors files; or one folder, or git repository, with steps "
            "step0, step100, …; or hf://OWNER/REPOSITORY of a model hub."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The run's folder.")],
    steps: Annotated[
        str | None,
        typer.Option(help="Steps of the files, 0,500,1000; default: read from the files."),
    ] = None,
    resume: Annotated[
        bool,
        output_option(
            "--resume", help="Keep a finished import of these files; redo an unfinished one."
        ),
    ] = False,
    overwrite: Overwrite = False,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="A setting of the task or the training: training.weight_decay=0; repeatable.",
        ),
    ] = None,
    split: Annotated[
        Path | None,
        typer.Option(
            help="A file with the training split (train_data and test_data, or train_indices), or "
            "a run with the same split.",
            rich_help_panel="Task",
        ),
    ] = None,
    act: Annotated[
        str | None,
        typer.Option(help="Activation function; default: from the files, else relu."),
    ] = None,
    fold_norm: Annotated[
        bool,
        typer.Option(
            "--fold-norm",
            help="Fold the learned scales of normalizations into the matrices that read them.",
        ),
    ] = False,
    timeout: Annotated[float, typer.Option(help="With hf://: seconds allowed per download.")] = 300,
    **given: Any,
) -> Suggestion:
    """Import weights trained elsewhere as a run, for all analyses.

    Options describe the task as far as the files do not, and must fit the shapes of the weights.
    Other training settings stay unknown. Unpickling is limited to tensors, dictionaries and lists.
    hf:// needs the extra `mechgrok[hub]`.
    """
    from mechgrok.cli.progress import warnings_in_one_line
    from mechgrok.exchange.importing import import_run

    settings = nested(given["given"], set_)
    refuse_unknown(settings, ["task", "training"], "An import")
    with warnings_in_one_line():
        run = (_find_import(out, files) if resume else None) or import_run(
            files,
            out,
            task=settings.get("task", {}),
            steps=whole_numbers(steps) if steps else None,
            act=act,
            split=split,
            training=settings.get("training"),
            fold_norm=fold_norm,
            overwrite=overwrite,
            timeout=timeout,
        )
    _print_summary(run)
    return first_look(run)


def _find_import(out: Path, files: list[Path]) -> "Run | None":
    """The run of an earlier import of these files, or None.

    Imports are atomic: complete or absent.

    Raises:
        UserError: the folder holds another run.
    """
    from mechgrok.exchange.importing.making import source_names
    from mechgrok.runs import Run

    if not (out / "config.json").is_file():
        return None
    run = Run(out)
    if run.imported is None or run.imported.files != source_names(files):
        raise UserError(
            f"{out} holds a run that is no import of these files: choose another folder, or "
            "replace it with --overwrite."
        )
    return run


def _print_summary(run: "Run") -> None:
    """Print the recognized layout, the accuracies, and what is assumed or unknown."""
    import sys

    from mechgrok.exchange.importing import chance_level_warning
    from mechgrok.runs.imported import assumed_in_words, split_in_words

    origin = run.imported
    assert origin is not None
    plural = "s" if len(run.steps) > 1 else ""
    print(f"{run.path}: {run.task}; {origin.layout}; {len(run.steps)} checkpoint{plural}")
    last = run.metrics.iloc[-1]
    at_step = f"At step {run.steps[-1]:,}" if origin.steps_known else "At an unknown step"
    print(
        f"{at_step}: train accuracy {last.train_accuracy:.4f} and test accuracy "
        f"{last.test_accuracy:.4f}, loss {last.train_loss:.4g} and {last.test_loss:.4g}."
    )
    print(f"Split: {split_in_words(run)}. Assumed: {assumed_in_words(run)}.")
    if origin.compared:
        print("Its outputs match the file's own forward pass.")
    else:
        print("Its outputs were not compared: the file holds a mechgrok model, or yours.")
    if warning := chance_level_warning(run):
        print(f"mechgrok: {warning}", file=sys.stderr)
