"""How things show themselves in a notebook: as small tables, and while they train as a bar."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from math import isnan
from typing import TYPE_CHECKING, Any, Literal

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


@contextmanager
def shown(
    progress: Callable[[dict[str, float]], object] | Literal["auto"] | None, steps: int
) -> Iterator[Callable[[dict[str, float]], object]]:
    """What is called with each row of the metrics, for a training of so many steps.

    Args:
        progress: somebody's own; "auto" is a bar in a notebook, and nothing elsewhere; None is
            nothing.
        steps: the last one.
    """
    if progress != "auto" or not in_notebook():
        yield (lambda row: None) if progress is None or progress == "auto" else progress
        return
    from tqdm.auto import tqdm

    with tqdm(total=steps, unit="step", dynamic_ncols=True) as bar:

        def note(row: Mapping[str, Any]) -> None:
            bar.update(int(row["step"]) - bar.n)
            what = "loss" if isnan(row["test_accuracy"]) else "accuracy"
            form = "{:.3g}" if what == "loss" else "{:.1%}"
            sides = ("train", "test")
            bar.set_postfix({side: form.format(row[f"{side}_{what}"]) for side in sides})

        yield note
