"""Open weights that were trained elsewhere as a run"""

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.options import assign, whole_numbers
from mechgrok import own_code

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
        typer.Option("--set", help="Any other field of the task: task.label_seed=3.", **Task),
    ] = None,
    act: Annotated[str, typer.Option(help="The neurons' non-linearity: relu or gelu.")] = "relu",
) -> None:
    """Make a run of weights that were trained elsewhere, so that every analysis works on them.

    What a file does not tell about its task comes from the options, and is checked against the
    shapes of the weights. Files are never unpickled beyond tensors, dictionaries and lists.
    """
    import sys

    from mechgrok.runs.importing import doubt, import_run

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
    at = whole_numbers(steps) if steps else None
    run = import_run(files, out, task=given["task"], steps=at, act=act, overwrite=overwrite)
    last = run.metrics.iloc[-1]
    origin = run.config.origin
    assert origin is not None
    print(f"{run.path}: {run.task}; {origin.layout}; {len(run.steps)} checkpoints")  # type: ignore[union-attr]
    print(
        f"At step {run.steps[-1]:,}: accuracy {last.train_accuracy:.4f} and "
        f"{last.test_accuracy:.4f}, loss {last.train_loss:.4g} and {last.test_loss:.4g}, on the "
        "two parts of a fresh split."
    )
    if warning := doubt(run):
        print(f"mechgrok: {warning}", file=sys.stderr)
