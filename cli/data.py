"""Results as tables, or as data for other programs: CSV and JSON."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Column

Form = Annotated[
    Literal["table", "csv", "json"],
    typer.Option("--format", help="A readable table, or its numbers as CSV or JSON."),
]


def write_data(rows: "pd.DataFrame", form: str) -> None:
    """Print rows with their index as the first column; missing values are empty, or null.

    Args:
        rows: the rows.
        form: csv, or json for a list of one object per row.
    """
    rows = rows.reset_index()
    if form == "csv":
        rows.to_csv(sys.stdout, index=False)
    else:
        nullable = rows.astype(object).where(rows.notna(), None)
        print(json.dumps(nullable.to_dict("records"), indent=2, ensure_ascii=False))


def print_table(
    first: "Sequence[Column]", headings: Iterable[str], rows: Iterable[Sequence[str]]
) -> None:
    """Print a table.

    Args:
        first: the first columns.
        headings: of the other columns, which are aligned to the right.
        rows: the cells.
    """
    from rich.console import Console
    from rich.table import Column, Table

    others = [Column(heading, justify="right", no_wrap=True) for heading in headings]
    table = Table(*first, *others, box=None, padding=(0, 1), header_style="bold")
    for row in rows:
        table.add_row(*row)
    terminal = Console()
    # A pipe has no width to fit: print every column in full.
    (terminal if terminal.is_terminal else Console(width=200)).print(table)
