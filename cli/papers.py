"""List the papers that `mechgrok paper` reproduces, and write a page over their verdicts"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from mechgrok.cli.suggestions import Suggestion
from mechgrok.errors import UserError, in_a_sentence


def papers(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Folders that `mechgrok paper` has written; default: those in this folder."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="The page.")] = Path("papers.html"),
) -> Suggestion:
    """List the papers that `mechgrok paper` reproduces, and write a page over their verdicts.

    The page shows the claims of all papers reproduced so far, with filters and a search, the
    sharpest disagreements first. Without any, there is only the list.
    """
    from mechgrok.analyses.papers.overview import Reproduction, find_reproductions, write_overview

    reproductions = [Reproduction.read(f) for f in folders or ()] or find_reproductions(Path())
    _list()
    for of in reproductions:
        print(f"{of.folder}: {of.headline}{', a preview' if of.quick else ''}")
    if reproductions:
        write_overview(out, reproductions)
        print(out)
    return ("paper", "--list")


def _list() -> None:
    """Print each paper's name, title, and numbers of items and claims."""
    import pandas as pd

    from mechgrok.analyses.papers import find_paper, list_papers

    rows = []
    for name in list_papers():
        try:
            paper = find_paper(name)
            items = paper.find_items()
        except (UserError, ImportError, AttributeError) as error:  # List the others.
            print(f"mechgrok: {name} cannot be listed: {in_a_sentence(error)}", file=sys.stderr)
            continue
        claims = sum(item.n_statements for item in items)
        rows.append({"name": name, "title": paper.title, "items": len(items), "claims": claims})
    print(pd.DataFrame(rows).to_string(index=False))
