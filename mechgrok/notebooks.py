"""HTML representations of objects for notebooks."""

import sys
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def html_table(
    title: str, rows: Mapping[str, Sequence[str]], headings: Sequence[str] | None = None
) -> str:
    """A table with a title; all text is escaped.

    Args:
        title: the title above the table.
        rows: the cells of each row, by its heading.
        headings: the headings of the columns, if any.
    """
    head = ""
    if headings is not None:
        cells = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
        head = f"<thead><tr><th></th>{cells}</tr></thead>"
    style = ' style="text-align: left"'
    body = "".join(
        f"<tr><th{style}>{escape(name)}</th>"
        + "".join(f"<td{style}>{escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for name, cells in rows.items()
    )
    return f"<b>{escape(title)}</b><table>{head}<tbody>{body}</tbody></table>"


def html_frame(title: str, frame: "pd.DataFrame") -> str:
    """A data frame under a title."""
    return f"<p>{escape(title)}</p>{frame.to_html(max_rows=20)}"


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython and ipython.get_ipython()
    return shell is not None and hasattr(shell, "kernel")
