"""Results as data for other programs: CSV and JSON instead of a table."""

import json
import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    import pandas as pd

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
