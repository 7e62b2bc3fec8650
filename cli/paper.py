"""Reproduce the figures, tables and claims of a paper, on one page"""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mechgrok.cli.options import Execution, Quiet, with_option_groups
from mechgrok.cli.suggestions import Suggestion
from mechgrok.errors import UserError, choices, near

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mechgrok.analyses.papers import Paper, Scale
    from mechgrok.analyses.papers.item import Item, ItemResult
    from mechgrok.sweeps import Executor, Outcome

#: The default paper.
DEFAULT = "minegishi2023"


@with_option_groups
def paper(
    *,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PAPER] [ITEMS]...",
            help="A paper (see `mechgrok papers`; default: minegishi2023), and items such as "
            "v3-fig3 v2-table1 (default: all).",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The folder; default: paper, or another paper's name.")
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            help="A number of seeds, or seeds such as 0:5; default: at least 6 (see --list), "
            "fewer with --quick."
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="A preview in minutes, with small networks and few seeds."),
    ] = False,
    mnist: Annotated[
        Path | None, typer.Option(help="A folder with MNIST's four files; default: download.")
    ] = None,
    list_: Annotated[
        bool, typer.Option("--list", help="List the items and how long they take on this machine.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Redraw and re-evaluate all items.")
    ] = False,
    execution: Execution,
    quiet: Quiet = False,
) -> Suggestion:
    """Reproduce a paper's figures and tables, and test its claims.

    Items share runs. After Ctrl-C or a crash, the same command resumes. `index.html` works offline;
    claims are also in `claims.json` and `claims.parquet`, figures in `figures/`.
    """
    paper, items = _paper_and_items(names or [])
    scale = paper.scale(_seeds(seeds) if seeds else (), quick=quick, mnist=_images(mnist))
    if list_:
        _list(items, scale)
        return ("paper", *(names or []), "--quick")
    folder = out or Path(
        ("paper" if paper.name == DEFAULT else paper.name) + ("-quick" if quick else "")
    )
    make(folder, paper, items, scale, execution, fresh=fresh, quiet=quiet)
    return ("papers",)


def make(
    folder: Path,
    paper: "Paper",
    items: "list[Item]",
    scale: "Scale",
    execution: Execution,
    *,
    fresh: bool = False,
    quiet: bool = False,
) -> None:
    """Train the runs of a paper's items, draw and judge the items, and print the verdicts.

    The page also keeps the items that were made earlier in this folder.

    Raises:
        typer.Exit: a run or an item has failed, or training was interrupted.
        UserError: the folder contains something else.
    """
    from mechgrok.analyses.papers.item import ItemResult
    from mechgrok.analyses.papers.making import check_folder, find_made
    from mechgrok.analyses.papers.page import write_paper

    check_folder(folder)
    failed = _train(folder, paper, items, scale, execution.executor(), quiet)
    results = _draw(folder, items, scale, fresh, execution.jobs, quiet)
    names = results.keys() | {item.name for item in find_made(folder, paper, scale)}
    shown = [item for item in paper.find_items() if item.name in names]
    kept = {item.name: ItemResult.read(folder, item.name)[1] for item in shown}
    page = write_paper(folder, paper, shown, kept, scale)
    _report(page, results, failed)


def _paper_and_items(names: list[str]) -> "tuple[Paper, list[Item]]":
    """The paper of the first name, or the default paper, and its items of the other names.

    Raises:
        UserError: there is no such paper or item.
    """
    from mechgrok.analyses.papers import find_paper, list_papers

    papers = list_papers()
    # A name similar to a paper's is a mistyped paper rather than an item.
    n_papers = 1 if names and near(names[0], papers) else 0
    paper = find_paper(names[0] if n_papers else DEFAULT)
    known = [name for item in paper.find_items() for name in (item.name, *item.also)]
    if names and not n_papers and names[0] not in known:
        raise UserError(
            f"There is no paper {names[0]!r}, and {DEFAULT} has no such item"
            f"{near(names[0], known)}: choose a paper ({choices(papers)}) or items "
            f"({choices(paper.items)})."
        )
    return paper, paper.find_items(names[n_papers:])


def _images(folder: Path | None) -> str | None:
    """The absolute path of the MNIST folder, for the runs' settings.

    Raises:
        UserError: one of MNIST's files is missing.
    """
    if folder is None:
        return None
    from mechgrok.tasks.images import find_mnist

    find_mnist(folder.expanduser())
    return str(folder.expanduser().resolve())


def _seeds(text: str) -> tuple[int, ...]:
    """Parse seeds: ``3`` means 0, 1 and 2; other texts are values as in a sweep.

    Raises:
        UserError: the values are not whole numbers from 0 on.
    """
    from mechgrok.grammar import parse_values

    values = list(range(int(text))) if text.isdecimal() else parse_values(text)
    if not values or not all(type(value) is int and value >= 0 for value in values):
        raise UserError(f"--seeds {text} is invalid: give a number of seeds, 3, or seeds, 0:3.")
    return tuple(int(str(value)) for value in values)


def _list(items: "list[Item]", scale: "Scale") -> None:
    """List the items, their numbers of runs and the estimated time on this machine."""
    from mechgrok.analyses.papers import join
    from mechgrok.cli.progress import status
    from mechgrok.formatting import duration, n_bytes
    from mechgrok.processes import usable_cores
    from mechgrok.sweeps.costs import CostModel

    plans = {item.name: item.plan(scale) for item in items}
    members, cores = join(plans.values()).members(), usable_cores()
    costs = None
    try:
        with status("training a few steps of each kind of run"):
            costs = CostModel(members)
    except UserError as error:  # a missing data set
        print(f"mechgrok: The time is unknown: {error}", file=sys.stderr)
    for item in items:
        runs = plans[item.name].members()
        time = duration(costs.of(runs).seconds / cores) if costs else ""
        alone = f", at most {time} alone" if time else ""
        print(f"{item.title}\n  {item.shows}\n  {len(runs)} runs{alone}")
    if costs is not None:
        total = costs.of(members)
        print(
            f"Together: {total.runs} runs, at most {duration(total.seconds / cores)} with {cores} "
            f"at a time at this machine's current load, and {n_bytes(total.bytes)} on disk"
        )


def _train(
    folder: Path,
    paper: "Paper",
    items: "list[Item]",
    scale: "Scale",
    executor: "Executor",
    quiet: bool,
) -> "list[Outcome]":
    """Train the missing runs, and return those that failed.

    Raises:
        typer.Exit: training was interrupted; the command that resumes it has been printed.
    """
    from mechgrok.analyses.papers.making import sweep_of
    from mechgrok.cli.main import typed
    from mechgrok.cli.sweep import failed_runs
    from mechgrok.sweeps.progress import SweepProgress
    from mechgrok.sweeps.running import complete

    sweep = sweep_of(folder, paper, items, scale)
    with SweepProgress(sweep, quiet=quiet) as progress:
        outcomes = complete(sweep, executor, display=progress)
    return failed_runs(sweep, outcomes, shlex.join(["mechgrok", *typed]))


def _draw(
    folder: Path, items: "list[Item]", scale: "Scale", fresh: bool, jobs: int | None, quiet: bool
) -> "dict[str, ItemResult]":
    """Draw and evaluate the items, with a progress display."""
    from mechgrok.analyses.papers.making import make_items
    from mechgrok.cli.progress import progress_callback
    from mechgrok.processes import usable_cores

    with progress_callback("drawing", quiet=quiet) as progress:
        return make_items(
            folder, items, scale, fresh=fresh, workers=jobs or usable_cores(), progress=progress
        )


def _report(page: Path, results: "Mapping[str, ItemResult]", failed: "list[Outcome]") -> None:
    """Print one line per verdict, and the failures, which also set the exit code."""
    rows = [(name, row) for name, result in results.items() for row in result.claims]
    width = max((len(row["verdict"]) for _, row in rows), default=0)
    for name, row in rows:
        print(f"{row['verdict']:{width}}  {name}: {row['text']}")
    for name, result in results.items():
        if result.failed:
            print(f"mechgrok: {name} failed: {result.failed}", file=sys.stderr)
    undrawn = [f["undrawn"] for r in results.values() for f in r.figures if "undrawn" in f]
    if undrawn:
        print(
            f"mechgrok: {len(undrawn)} figures were written only as HTML. {undrawn[0]}",
            file=sys.stderr,
        )
    print(page)
    if failed or any(result.failed for result in results.values()):
        raise typer.Exit(1)
