"""Open weights that were trained elsewhere as a run"""

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.options import assign, whole_numbers
from mechgrok import own_code
from mechgrok.errors import UserError

Task = {"rich_help_panel": "Task"}


def import_(
    files: Annotated[
        list[Path], typer.Argument(help="Files of weights: PyTorch pickles or safetensors.")
    ],
    out: Annotated[Path, typer.Option(help="The run's folder.")],
    steps: Annotated[
        str | None,
        typer.Option(help="The step of each, 0,500,1000; from the files unless given."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the run in the folder.")
    ] = False,
    task: Annotated[
        str | None, typer.Option(help="What it was trained on; add unless the file tells.", **Task)
    ] = None,
    p: Annotated[int | None, typer.Option(help="Modulus.", **Task)] = None,
    pairs: Annotated[
        str | None, typer.Option(help="unordered, ordered, or descending (b < a).", **Task)
    ] = None,
    equals: Annotated[
        bool | None, typer.Option(help="Whether an '=' token ends each pair.", **Task)
    ] = None,
    train_fraction: Annotated[
        float | None, typer.Option(help="Share of examples to call the training set.", **Task)
    ] = None,
    split_seed: Annotated[int | None, typer.Option(help="Seed of the split.", **Task)] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Any other field of the task, task.label_seed=3, or what is known of the "
            "training, training.weight_decay=0.",
            **Task,
        ),
    ] = None,
    split: Annotated[
        Path | None,
        typer.Option(
            help="A file that holds the split they were trained on (train_data and test_data, or "
            "train_indices), or a run that has it.",
            **Task,
        ),
    ] = None,
    act: Annotated[
        str | None,
        typer.Option(help="The neurons' non-linearity; relu unless the files tell."),
    ] = None,
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

    fields: dict[str, Any] = {
        "name": task,
        "p": p,
        "pairs": pairs,
        "equals": equals,
        "train_fraction": train_fraction,
        "split_seed": split_seed,
    }
    given: dict[str, Any] = {
        "task": {name: value for name, value in fields.items() if value is not None}
    }
    for assignment in set_ or []:
        assign(given, assignment)
    own_code.allow(given["task"].get("name"))
    if dropped := given.keys() - {"task", "training"}:
        raise UserError(
            f"--set {dropped.pop()}… says nothing of an import: its task (task.KEY) and what is "
            "known of its training (training.KEY) can be set."
        )
    at = whole_numbers(steps) if steps else None
    with warnings.catch_warnings():
        warnings.showwarning = in_one_line  # type: ignore[assignment]
        run = import_run(
            files,
            out,
            task=given["task"],
            steps=at,
            act=act,
            split=split,
            training=given.get("training"),
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
