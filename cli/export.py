"""Write a network of a run for a model hub, or all of them, with model cards"""

from pathlib import Path
from typing import Annotated

import typer

from mechgrok.cli.options import License


def export(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    out: Annotated[Path, typer.Option(help="The folder to write, absent or empty.")],
    step: Annotated[int | None, typer.Option(help="The checkpoint; the last unless given.")] = None,
    hub_layout: Annotated[
        bool,
        typer.Option("--hub-layout", help="All checkpoints, each in a folder step0, step100, …"),
    ] = False,
    git: Annotated[
        bool,
        typer.Option("--git", help="With --hub-layout: a git repository, each step on a branch."),
    ] = False,
    steps: Annotated[
        str | None, typer.Option(help="With --hub-layout: 0,2000,30000 or 0:30000:1000; all.")
    ] = None,
    license: License = "unknown",
) -> None:
    """Write the network of a run at one step: `model.safetensors`, `config.json`, `README.md`."""
    from mechgrok.cli.progress import status
    from mechgrok.errors import UserError
    from mechgrok.exchange.exporting import export as write
    from mechgrok.exchange.hub import export_sequence
    from mechgrok.runs import Run

    opened = Run(run)
    if hub_layout:
        if step is not None:
            raise UserError("--hub-layout writes all checkpoints: give --steps for some of them.")
        chosen = opened.select(steps)
        with status(f"writing {len(chosen)} networks to {out}"):
            export_sequence(opened, out, chosen, branches=git, license=license)
        print(
            f"{out}: {len(chosen)} {'branches' if git else 'folders'}, step{chosen[0]} to "
            f"step{chosen[-1]}"
        )
        return
    if git or steps is not None:
        raise UserError("--git and --steps are for all checkpoints: give --hub-layout too.")
    folder = write(opened, out, -1 if step is None else step, license=license)
    print(f"{folder}: {', '.join(sorted(file.name for file in folder.iterdir()))}")
