"""Export one network of a run, or all of them, for a model hub"""

from pathlib import Path
from typing import Annotated

import typer

from mechgrok.cli.options import License
from mechgrok.cli.suggestions import Suggestion


def export(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    out: Annotated[Path, typer.Option(help="The folder to write; must be absent or empty.")],
    step: Annotated[int | None, typer.Option(help="The checkpoint; default: the last.")] = None,
    hub_layout: Annotated[
        bool,
        typer.Option("--hub-layout", help="Export all checkpoints, in folders step0, step100, …"),
    ] = False,
    git: Annotated[
        bool,
        typer.Option("--git", help="With --hub-layout: a git repository with one branch per step."),
    ] = False,
    steps: Annotated[
        str | None,
        typer.Option(help="With --hub-layout: 0,2000,30000 or 0:30000:1000; default: all."),
    ] = None,
    license: License = "unknown",
) -> Suggestion:
    """Export the network at one step as `model.safetensors`, `config.json` and `README.md`."""
    from mechgrok.cli.progress import status
    from mechgrok.errors import UserError
    from mechgrok.exchange.exporting import export as write
    from mechgrok.exchange.hub import export_sequence
    from mechgrok.runs import Run

    source = Run(run)
    if hub_layout:
        if step is not None:
            raise UserError(
                "--hub-layout exports all checkpoints: select some with --steps instead of --step."
            )
        selected = source.select(steps)
        with status(f"writing {len(selected)} networks to {out}"):
            export_sequence(source, out, selected, branches=git, license=license)
        print(
            f"{out}: {len(selected)} {'branches' if git else 'folders'}, step{selected[0]} to "
            f"step{selected[-1]}"
        )
        return ("import", out, "--out", f"{out}-imported")
    if git or steps is not None:
        raise UserError("--git and --steps need --hub-layout: add it.")
    folder = write(source, out, -1 if step is None else step, license=license)
    print(f"{folder}: {', '.join(sorted(file.name for file in folder.iterdir()))}")
    return ("import", folder / "model.safetensors", "--out", f"{out}-imported")
