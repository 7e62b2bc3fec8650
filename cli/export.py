"""Write one network of a run for a model hub, under TransformerLens's names, with a model card"""

from pathlib import Path
from typing import Annotated

import typer


def export(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    out: Annotated[Path, typer.Option(help="The folder to write, absent or empty.")],
    step: Annotated[int, typer.Option(help="The checkpoint; -1 is the last.")] = -1,
) -> None:
    """Write the network of a run at one step: `model.safetensors`, `config.json`, `README.md`."""
    from mechgrok.runs import Run
    from mechgrok.runs.exporting import export as write

    folder = write(Run(run), out, step)
    print(f"{folder}: {', '.join(sorted(file.name for file in folder.iterdir()))}")
