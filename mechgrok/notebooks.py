"""What a notebook shows of an object: a small table."""

import sys
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def html_table(
    title: str, rows: Mapping[str, Sequence[str]], headings: Sequence[str] | None = None
) -> str:
    """A table with a title; every text in it is shown as it is, never taken for HTML.

    Args:
        title: above the table.
        rows: the cells of each row, by what stands before them.
        headings: of the columns, where they have any.
    """
    head = ""
    if headings is not None:
        cells = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
        head = f"<thead><tr><th></th>{cells}</tr></thead>"
    left = ' style="text-align: left"'
    body = "".join(
        f"<tr><th{left}>{escape(name)}</th>"
        + "".join(f"<td{left}>{escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for name, cells in rows.items()
    )
    return f"<b>{escape(title)}</b><table>{head}<tbody>{body}</tbody></table>"


def html_frame(title: str, frame: "pd.DataFrame") -> str:
    """A data frame under a title."""
    return f"<p>{escape(title)}</p>{frame.to_html(max_rows=20)}"


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    shell = sys.modules.get("IPython")
    here = shell and shell.get_ipython()
    return here is not None and hasattr(here, "kernel")
