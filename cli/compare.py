"""Set runs beside one another: one table, and accuracy, L1 and L2 overlaid in one figure"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mechgrok.cli.data import Form, write_data
from mechgrok.cli.figures import Pictures, with_pictures
from mechgrok.cli.options import AtAccuracy
from mechgrok.formatting import norm

if TYPE_CHECKING:
    import pandas as pd

#: How a column is headed and its numbers are written.
COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "density": ("density", "{:.3f}".format),
    "l1_start": ("L1 start", partial(norm, digits=0)),
    "l1_end": ("L1 end", partial(norm, digits=0)),
    "l2_start": ("L2 start", norm),
    "l2_end": ("L2 end", norm),
    "t_mem": ("t_mem", "{:,}".format),
    "t_gen": ("t_gen", "{:,}".format),
    "tau_grok": ("τ_grok", "{:,.1f}".format),
    "train_accuracy": ("train", "{:.2%}".format),
    "test_accuracy": ("test", "{:.2%}".format),
}


@with_pictures
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs, or of sweeps.")],
    *,
    pictures: Pictures,
    by: Annotated[
        str | None,
        typer.Option(
            help="Group runs by settings: weight_decay or weight_decay,p. Of a sweep: all that "
            "vary but the seeds, unless given."
        ),
    ] = None,
    at_accuracy: AtAccuracy = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The figure's file; analysis/compare-….html of the first run."),
    ] = None,
    log: Annotated[bool, typer.Option(help="Logarithmic step axis.")] = True,
    form: Form = "table",
) -> None:
    """Density, norms, t_mem, t_gen, τ_grok and final accuracies of runs, and their curves.

    Groups of runs, and sweeps, are told by their medians. As CSV or JSON it prints the numbers
    alone, and makes no figure.
    """
    from mechgrok.analyses.drawing.overlay import overlay
    from mechgrok.cli.groups import print_groups
    from mechgrok.files import ensure_writable
    from mechgrok.runs.comparison import compare as table_of
    from mechgrok.sweeps.groups import RunGroups

    family = RunGroups.open(runs, by, at_accuracy=at_accuracy)
    alone = table_of(family.runs, at_accuracy=at_accuracy) if family.by is None else None
    if form != "table":
        write_data(family.summary if alone is None else alone.rename_axis(index="run"), form)
        return
    page = out or family.path / f"{family.stem('compare')}.html"
    ensure_writable(page)
    if alone is None:
        print_groups(family)
    else:
        print_table(alone)
    for label, run in family.runs.items():
        if run.diverged is not None:
            print(f"{label} diverged: its loss is not finite at step {run.diverged:,}.")
    pictures.write(overlay(family, log=log), page)


def print_table(table: "pd.DataFrame") -> None:
    """The comparison as a table on the terminal; a dash where something was not reached."""
    import pandas as pd
    from rich.console import Console
    from rich.table import Table

    drawn = Table(box=None, padding=(0, 1), header_style="bold")
    drawn.add_column("run", overflow="fold")
    for heading, _ in COLUMNS.values():
        drawn.add_column(heading, justify="right", no_wrap=True)
    for label, row in table.iterrows():
        cells = [
            "—" if pd.isna(row[column]) else form(row[column])
            for column, (_, form) in COLUMNS.items()
        ]
        drawn.add_row(str(label), *cells)
    terminal = Console()
    # A pipe has no width to fit: there, every column is printed whole.
    (terminal if terminal.is_terminal else Console(width=200)).print(drawn)
