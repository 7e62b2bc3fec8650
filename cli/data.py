"""Answers as data, for other programs: CSV and JSON instead of a table that is read."""

import json
import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    import pandas as pd

Form = Annotated[
    Literal["table", "csv", "json"],
    typer.Option("--format", help="A table to read, or the same numbers as CSV or JSON."),
]


def write_data(rows: "pd.DataFrame", form: str) -> None:
    """Print rows with their index as the first column; what is missing is empty, or null.

    Args:
        rows: what to print.
        form: csv or json, which is a list with an object for each row.
    """
    rows = rows.reset_index()
    if form == "csv":
        rows.to_csv(sys.stdout, index=False)
    else:
        there = rows.astype(object).where(rows.notna(), None)
        print(json.dumps(there.to_dict("records"), indent=2, ensure_ascii=False))
