"""One screen about a run: task, model, checkpoints, t_mem and t_gen, norms"""

from pathlib import Path
from typing import Annotated

import typer


def info(run: Annotated[Path, typer.Argument(help="The run's folder.")]) -> None:
    """One screen about a run: task, model, size, checkpoints, t_mem, t_gen, τ_grok, norms."""
    from rich.console import Console
    from rich.table import Table

    from mechgrok.runs import Run
    from mechgrok.runs.facts import facts

    opened = Run(run)
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0), title=str(opened.path))
    table.title_justify = "left"
    table.add_column(style="bold")
    for name, value in facts(opened).items():
        table.add_row(name, value)
    Console().print(table)
