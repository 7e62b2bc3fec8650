"""Compare runs in one table, and their accuracy and norms in one figure"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mechgrok.cli.data import Form, print_table, write_data
from mechgrok.cli.figures import Pictures
from mechgrok.cli.options import AtAccuracy, By, with_option_groups
from mechgrok.cli.suggestions import Suggestion, first_look
from mechgrok.formatting import norm

if TYPE_CHECKING:
    import pandas as pd

#: Shown only if a run collapses.
_COLLAPSES = ("t_gen_sustained", "collapsed_share")
#: Heading and number format of each column.
COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "density": ("density", "{:.3f}".format),
    "l1_start": ("L1 start", partial(norm, digits=0)),
    "l1_end": ("L1 end", partial(norm, digits=0)),
    "l2_start": ("L2 start", norm),
    "l2_end": ("L2 end", norm),
    "t_mem": ("t_mem", "{:,}".format),
    "t_gen": ("t_gen", "{:,}".format),
    "t_gen_sustained": ("sustained", "{:,}".format),
    "collapsed_share": ("collapsed", "{:.1%}".format),
    "tau_grok": ("τ_grok", "{:,.1f}".format),
    "train_accuracy": ("train", "{:.2%}".format),
    "test_accuracy": ("test", "{:.2%}".format),
}


@with_option_groups
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs or sweeps.")],
    *,
    by: By = None,
    at_accuracy: AtAccuracy = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The figure's file; default: analysis/compare-….html in the first run."),
    ] = None,
    log: Annotated[bool, typer.Option(help="Logarithmic step axis.")] = True,
    form: Form = "table",
    pictures: Pictures,
) -> Suggestion:
    """Compare density, norms, t_mem, t_gen, τ_grok and final accuracies, and plot the curves.

    Groups and sweeps are summarized by medians. CSV and JSON output is the numbers alone, without
    a figure.
    """
    from mechgrok.analyses.drawing.overlay import overlay
    from mechgrok.cli.groups import print_groups
    from mechgrok.files import ensure_writable
    from mechgrok.runs import Run
    from mechgrok.runs.comparison import compare as table_of
    from mechgrok.sweeps.groups import RunGroups

    groups = RunGroups.open(runs, by, at_accuracy=at_accuracy)
    table = table_of(groups.runs, at_accuracy=at_accuracy) if groups.by is None else None
    if form != "table":
        write_data(groups.summary if table is None else table.rename_axis(index="run"), form)
        return None
    page = out or groups.path / f"{groups.stem('compare')}.html"
    ensure_writable(page)
    if table is None:
        print_groups(groups)
    else:
        print_comparison(table)
    for label, run in groups.runs.items():
        if run.diverged is not None:
            print(f"{label} diverged: its loss is not finite at step {run.diverged:,}.")
    pictures.write(overlay(groups, log=log), page)
    if groups.by is None:
        return first_look(Run(runs[0]), *runs[1:])
    return ("precursors" if len(runs) == 1 else "report", *runs)


def print_comparison(table: "pd.DataFrame") -> None:
    """Print the comparison as a table; a dash means not reached."""
    import pandas as pd
    from rich.table import Column

    columns = {
        name: column
        for name, column in COLUMNS.items()
        if table["t_collapse"].notna().any() or name not in _COLLAPSES
    }

    def cells(row: "pd.Series") -> list[str]:
        return [
            "—" if pd.isna(row[name]) else form(row[name]) for name, (_, form) in columns.items()
        ]

    rows = [[str(label), *cells(row)] for label, row in table.iterrows()]
    headings = [heading for heading, _ in columns.values()]
    print_table([Column("run", overflow="fold")], headings, rows)
