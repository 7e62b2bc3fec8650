"""List the papers that `mechgrok paper` reproduces, and write a page over their verdicts"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mechgrok.cli.options import Execution, Quiet, with_option_groups
from mechgrok.cli.suggestions import Suggestion
from mechgrok.errors import UserError, in_a_sentence
from mechgrok.files import ensure_writable

if TYPE_CHECKING:
    from mechgrok.analyses.papers.overview import Reproduction


@with_option_groups
def papers(
    *,
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Folders that `mechgrok paper` has written; default: those in this folder, and "
            "the results that come with mechgrok of the other papers."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="The page.")] = Path("papers.html"),
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Make a preview of every paper first, in folders NAME-quick."),
    ] = False,
    execution: Execution,
    quiet: Quiet = False,
) -> Suggestion:
    """List the papers that `mechgrok paper` reproduces, and write a page over their verdicts.

    The page shows the claims of all papers with their verdicts, with filters and a search, the
    sharpest disagreements first.
    """
    from mechgrok.analyses.papers.overview import (
        Reproduction,
        find_reproductions,
        find_shipped,
        write_overview,
    )

    ensure_writable(out)
    named = [Reproduction.read(folder) for folder in folders or ()]
    failed = quick and not _make_previews(execution, quiet)
    shipped = find_shipped()
    reproductions = named or find_reproductions(Path())
    _list(shipped)
    for of in reproductions:
        print(f"{of.folder}: {of.headline}{', a preview' if of.quick else ''}")
    if not folders:
        done = {of.title for of in reproductions if not of.quick}
        reproductions += [of for of in shipped.values() if of.title not in done]
    write_overview(out, reproductions)
    print(out)
    if failed:
        raise typer.Exit(1)
    return ("paper", "--list")


def _make_previews(execution: Execution, quiet: bool) -> bool:
    """Make a preview of every paper in the current folder; False if one of them has failed."""
    from mechgrok.analyses.papers import find_paper, list_papers
    from mechgrok.cli.paper import make

    success = True
    for name in list_papers():
        print(name)
        try:
            paper = find_paper(name)
            folder, scale = Path(f"{name}-quick"), paper.scale(quick=True)
            make(folder, paper, paper.find_items(), scale, execution, quiet=quiet)
        except UserError as error:
            print(f"mechgrok: {name} failed: {error}", file=sys.stderr)
            success = False
        except typer.Exit as ended:
            if ended.exit_code != 1:  # interrupted
                raise
            success = False
    return success


def _list(shipped: "Mapping[str, Reproduction]") -> None:
    """Print each paper's name and title, and how many of its claims the shipped runs confirm."""
    import pandas as pd

    from mechgrok.analyses.papers import find_paper, list_papers
    from mechgrok.analyses.papers.claims import count_verdicts

    rows = []
    for name in list_papers():
        try:
            paper = find_paper(name)
            items = paper.find_items()
        except (UserError, ImportError, AttributeError) as error:  # List the others.
            print(f"mechgrok: {name} cannot be listed: {in_a_sentence(error)}", file=sys.stderr)
            continue
        claims = sum(item.n_statements for item in items)
        verdicts = count_verdicts(shipped[name].claims if name in shipped else ())
        shown = {verdict: verdicts[verdict] for verdict in ("holds", "undecided", "differs")}
        rows.append({"name": name, "items": len(items), "claims": claims, **shown})
        rows[-1]["title"] = paper.title
    width = max((len(str(row["title"])) for row in rows), default=0)
    table = pd.DataFrame(rows).rename(columns={"title": "title".ljust(width)})
    print(table.to_string(index=False, formatters={table.columns[-1]: f"{{:<{width}}}".format}))
